import pytest

from crossmodal.cli.main import main
from crossmodal.cli.test import test_command as run_test
from tests.pipeline import fit, tiny_command

SIZES = ("num_video_frames=2", "face_size=32")


def args(folder, name, corpus):
    frames = ["--data.batch_size=4", *(f"--data.{size}" for size in SIZES)]
    backbone = ["--teacher.model.backbone=test_resnet", "--teacher.model.pretrained=false"]
    return tiny_command(folder / name, f"--name={name}", *frames, *backbone, corpus)


@pytest.fixture(scope="module")
def stream(tiny_videos, tmp_path_factory):
    target = str(tmp_path_factory.mktemp("stream") / "stream")
    assert main(["data", "prepare", str(tiny_videos), *(f"--{size}" for size in SIZES), "--to", "litdata", target]) == 0
    return target


def test_all_stages_have_the_same_results_from_a_stream(tiny_videos, stream, tmp_path, capsys):
    """The cache of the streamed run starts empty, so no stage is reused."""
    plain = fit(args(tmp_path, "plain", f"--data.root={tiny_videos}"))
    streamed = fit(args(tmp_path, "streamed", f"--data.stream={stream}"))
    assert streamed["corpus"] == plain["corpus"] | {"root": stream}
    assert streamed["gain"] == plain["gain"]
    for stage, numbers in plain["stages"].items():
        # A probability may differ in its last bit, because arrays of a stream have other addresses in memory.
        error = {"val_ece", "test_ece", "seconds"}
        assert streamed["stages"][stage] == numbers | {name: streamed["stages"][stage][name] for name in error}
        for name in error - {"seconds"}:
            assert streamed["stages"][stage][name] == pytest.approx(numbers[name], abs=1e-6)
    capsys.readouterr()
    model, cache = f"--model={streamed['model']}", f"--data.cache={tmp_path / 'streamed' / 'cache'}"
    assert run_test([model, f"--data.stream={stream}", cache, "--format=json"]) == 0
    assert '"kind": "ravdess"' in capsys.readouterr().out
