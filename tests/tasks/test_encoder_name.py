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
def test_a_name_on_the_command_line_arrives_as_plain_text(name):
    assert parse_settings([f"--transfer.model.encoder={name}"])["transfer"]["model"]["encoder"] == name
    kwargs = {"encoder_kwargs": None, "encoder": name}
    cli = LightningCLI(FinetuneTask, args={"model": STUDENT | kwargs}, run=False, save_config_callback=None)
    assert type(cli.model.hparams["encoder"]) is str  # a checkpoint holds no class of ours
    assert f"encoder: {name}" in cli.parser.dump(cli.config)


@pytest.mark.parametrize(
    "name, message",
    [
        ("timm:resnet81", "timm has no model 'resnet81'. Did you mean .*'resnet18'"),
        ("tdn", "Unknown audio encoder 'tdn'. Known: .*Did you mean 'tdnn'"),
        ("resnet18", "Unknown audio encoder 'resnet18'. Known: cnn"),
    ],
)
def test_a_mistyped_name_is_refused_before_anything_is_built(name, message):
    with pytest.raises(ConfigError, match=message) as raised:
        parse_settings([f"--transfer.model.encoder={name}"])
    assert "transfer.model.encoder" in str(raised.value)


def test_a_checkpoint_brings_the_image_models_weights(tmp_path):
    path = tmp_path / "weights.pt"
    torch.save(timm.create_model("test_resnet").state_dict(), path)
    encoder = {"encoder": "timm:test_resnet", "encoder_kwargs": {"weights": str(path), "pooling": "mean"}}
    task = FinetuneTask(**STUDENT | encoder)
    fit(task, loader(voices([0, 1, 2, 3]))).save_checkpoint(tmp_path / "finetune.ckpt")
    path.unlink()
    again = FinetuneTask.load_from_checkpoint(tmp_path / "finetune.ckpt", weights_only=True)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in task.state_dict().items())
    assert again.hparams["encoder_kwargs"]["pooling"] == "mean"
