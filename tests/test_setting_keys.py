import subprocess
import sys

import pytest

from crossmodal.errors import UnknownKeyError
from crossmodal.pipeline.settings import build_parser
from crossmodal.setting_keys import check_words, own_keys
from crossmodal.shipped_configs import config_names, find_config


def test_own_keys_are_those_of_the_parser():
    keys = set(build_parser().get_defaults().keys())
    assert set(own_keys()) == {key for key in keys if "trainer" not in key.split(".")[:-1]}


def test_an_unknown_key_is_found_without_heavy_imports():
    code = (
        "import sys; from crossmodal.cli.main import main; assert main(['fit', '--data.rot=x']) == 2; "
        "assert main(['study', 'run', 'teaching', '--data.rot=x']) == 2; "
        "assert not {'torch', 'lightning', 'jsonargparse', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["--data.fold", "1", "--data.root=--x"],
        ["--trainer.callbacks+=Timer", "--teacher.trainer.anything", "1"],
        ["--transfer.model.encoder_kwargs.hidden_size=3", "--transfer", "{model: {}}"],
        ["--print_config=skip_null", "--help", "-x", "text", "--config", "{}"],
        *(
            ["--config", str(find_config(name))]
            for name in config_names()
            if not name.startswith(("studies", "sweeps"))
        ),
    ],
    ids=str,
)
def test_known_keys_and_values_are_left_to_the_parser(words):
    check_words(words)


@pytest.mark.parametrize(
    "text", ["", "[", "- a", "a: &a [*a]", "data: &a {fold: 1, face_box: *a}", "trainer: {x: {y: 1}}", "data: 3"]
)
def test_invalid_files_are_left_to_the_parser(tmp_path, text):
    (tmp_path / "a.yaml").write_text(text)
    if text.startswith("a:"):
        with pytest.raises(UnknownKeyError, match="unknown key a"):
            check_words(["--config", str(tmp_path / "a.yaml")])
    else:
        check_words(["--config", str(tmp_path / "a.yaml")])
