import pytest
from lightning.pytorch.cli import LightningCLI

from crossmodal.errors import ConfigError
from crossmodal.pipeline.settings import parse_settings
from crossmodal.tasks import FinetuneTask
from tests.tasks.tiny import STUDENT

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.mark.parametrize("name", ["lstm", "tdnn"])
def test_a_name_from_the_command_line_is_a_plain_string(name):
    assert parse_settings([f"--transfer.model.encoder={name}"])["transfer"]["model"]["encoder"] == name
    kwargs = {"encoder_kwargs": None, "encoder": name}
    cli = LightningCLI(FinetuneTask, args={"model": STUDENT | kwargs}, run=False, save_config_callback=None)
    assert type(cli.model.hparams["encoder"]) is str  # checkpoints must not refer to our classes
    assert f"encoder: {name}" in cli.parser.dump(cli.config)


@pytest.mark.parametrize(
    "name, message",
    [("tdn", "'tdn'.*'tdnn'"), ("resnet18", "'resnet18'.*cnn")],
)
def test_a_typo_is_a_config_error_of_the_parser(name, message):
    with pytest.raises(ConfigError, match=message) as raised:
        parse_settings([f"--transfer.model.encoder={name}"])
    assert "transfer.model.encoder" in str(raised.value)
