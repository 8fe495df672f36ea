from pathlib import Path

import pytest
import yaml

from crossmodal.studies.grid import plan
from crossmodal.studies.study_file import read_study

METHODS = {"mse": {"transfer": {"model": {"kd_loss": None}}}, "default": {}}
APPLICATIONS = {"applications": {"voice": "voice.yaml"}}  # a study of one application
VOICE = {"stages": "control", "transfer": {"model": {"front_end": "lmfb", "encoder": "dense"}}}


@pytest.fixture
def write_study(tmp_path):
    """Return a function that writes the file of a study, by default of `METHODS`; None removes a key."""
    (tmp_path / "voice.yaml").write_text(yaml.safe_dump(VOICE))

    def write(**content) -> Path:
        path = tmp_path / "first.yaml"
        content = ({} if "applications" in content else {"methods": METHODS}) | content
        content = {key: value for key, value in content.items() if value is not None}
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return path

    return write


def cells_of(path, *overrides):
    return {cell.folder.name: cell for cell in plan(read_study(path), path.parent / "out", overrides)}
