import pytest

from crossmodal.cli.main import main
from crossmodal.pipeline import fit

SIZES = ("num_video_frames=2", "face_size=32")


def args(folder, name, *corpus):
    return [
        f"--runs={folder}",
        f"--name={name}",
        f"--data.cache={folder / name}",
        "--data.protocol=loso24",
        *(f"--data.{size}" for size in SIZES),
        "--data.batch_size=4",
        "--teacher.model.backbone=test_resnet",
        "--teacher.model.pretrained=false",
        "--transfer.model.encoder=dense",
        "--trainer.enable_progress_bar=false",
        *(f"--{stage}.trainer.max_epochs=1" for stage in ("teacher", "transfer", "finetune")),
        *corpus,
    ]


@pytest.fixture(scope="module")
def stream(tiny_videos, tmp_path_factory):
    target = str(tmp_path_factory.mktemp("stream") / "stream")
    assert main(["data", "prepare", str(tiny_videos), *(f"--{size}" for size in SIZES), "--to", "litdata", target]) == 0
    return target


def test_all_stages_have_the_same_results_from_a_stream(tiny_videos, stream, tmp_path, capsys):
    """The cache of the streamed run starts empty, so no stage is reused. Only the plain run stores speech features."""
    plain = fit(args(tmp_path, "plain", f"--data.root={tiny_videos}"))
    streamed = fit(args(tmp_path, "streamed", f"--data.stream={stream}"))
    assert streamed["corpus"] == plain["corpus"] | {"root": stream}
    assert streamed["gain"] == plain["gain"]
    for stage, numbers in plain["stages"].items():
        expected = {name: value for name, value in numbers.items() if name != "seconds"}
        found = {name: streamed["stages"][stage][name] for name in expected}
        assert found == pytest.approx(expected, abs=1e-5), stage
    capsys.readouterr()
    model = f"--model={tmp_path / 'streamed' / 'model'}"
    assert main(["test", model, f"--data.stream={stream}", f"--data.cache={tmp_path / 'cache'}", "--format=json"]) == 0
    assert '"kind": "ravdess"' in capsys.readouterr().out
