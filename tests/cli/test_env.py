import json
import sys

import pytest
import torch

from crossmodal.cli import env
from crossmodal.cli.main import main


@pytest.fixture
def report(capsys):
    assert main(["env", "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_content_of_the_report(report):
    assert report["libraries"]["torch"] == torch.__version__.partition("+")[0]
    assert {"lightning", "timm", "wandb", "onnxruntime"} <= report["libraries"].keys()
    assert not {"pytest", "mkdocs-material"} & report["libraries"].keys()
    assert report["torch"]["threads"] >= 1
    assert sys.executable in report["system"]["python"]
    assert report["locale"]["encoding"]


def test_video_decoders_are_probed(report):
    av = pytest.importorskip("av")
    assert av.__version__ in report["video"]["PyAV"] and "FFmpeg" in report["video"]["PyAV"]
    if sys.platform == "linux":
        assert report["video"]["decord"].startswith("decord 0.")


@pytest.mark.parametrize(
    "code",
    ["raise OSError('undefined symbol')", "import os; os.abort()", "import time; time.sleep(60)"],
    ids=["broken", "crash", "hang"],
)
def test_env_works_with_a_broken_torch(code, capsys, monkeypatch):
    monkeypatch.setattr(env, "_TORCH_PROBE", code)
    monkeypatch.setattr(env, "_IMPORT_SECONDS", 5)
    monkeypatch.setattr(env, "_PYAV_PROBE", "print('\"PyAV\"')")
    monkeypatch.setattr(env, "_DECORD_PROBE", "print('\"decord\"')")
    assert main(["env"]) == 1
    out = capsys.readouterr().out
    assert "pip install" in out and "locale:" in out
