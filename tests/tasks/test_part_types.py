import pytest
import timm
import torch
from lightning.pytorch.cli import LightningCLI

from crossmodal.errors import ConfigError
from crossmodal.pipeline.settings import parse_settings
from crossmodal.tasks import FinetuneTask
from tests.tasks.tiny import STUDENT, fit, loader, voices

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.mark.parametrize("name", ["timm:test_resnet", "tdnn"])
def test_a_name_from_the_command_line_is_a_plain_string(name):
    assert parse_settings([f"--transfer.model.encoder={name}"])["transfer"]["model"]["encoder"] == name
    kwargs = {"encoder_kwargs": None, "encoder": name}
    cli = LightningCLI(FinetuneTask, args={"model": STUDENT | kwargs}, run=False, save_config_callback=None)
    assert type(cli.model.hparams["encoder"]) is str  # checkpoints must not refer to our classes
    assert f"encoder: {name}" in cli.parser.dump(cli.config)


@pytest.mark.parametrize(
    "name, message",
    [("timm:resnet81", "'resnet81'.*'resnet18'"), ("tdn", "'tdn'.*'tdnn'"), ("resnet18", "'resnet18'.*cnn")],
)
def test_a_typo_is_a_config_error_of_the_parser(name, message):
    with pytest.raises(ConfigError, match=message) as raised:
        parse_settings([f"--transfer.model.encoder={name}"])
    assert "transfer.model.encoder" in str(raised.value)


def test_a_checkpoint_has_the_weights_of_a_timm_encoder(tmp_path):
    path = tmp_path / "weights.pt"
    torch.save(timm.create_model("test_resnet").state_dict(), path)
    encoder = {"encoder": "timm:test_resnet", "encoder_kwargs": {"weights": str(path), "pooling": "mean"}}
    task = FinetuneTask(**STUDENT | encoder)
    fit(task, loader(voices([0, 1, 2, 3]))).save_checkpoint(tmp_path / "finetune.ckpt")
    path.unlink()
    again = FinetuneTask.load_from_checkpoint(tmp_path / "finetune.ckpt", weights_only=True)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in task.state_dict().items())
    assert again.hparams["encoder_kwargs"]["pooling"] == "mean"
