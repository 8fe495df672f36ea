"""Run the scripts of examples/ on tiny corpora."""

import json
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from crossmodal.cli.main import main

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))
LABELS = {"neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised", "silence"}


@pytest.fixture
def run(monkeypatch, capsys):
    """Return a function that runs an example in this process and returns its printed lines."""

    def run(name: str, *args: object) -> list[str]:
        monkeypatch.setattr(sys, "argv", [name, *map(str, args)])
        capsys.readouterr()
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out.splitlines()

    return run


@pytest.fixture(scope="module")
def model_folder(tiny_ravdess, tmp_path_factory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    corpus = ["--data.root", str(tiny_ravdess), "--data.protocol", "loso24"]
    model = ["--transfer.model.encoder", "dense", "--transfer.model.augmentation", "null"]
    epochs = ["--transfer.trainer.max_epochs", "1", "--finetune.trainer.max_epochs", "1"]
    quiet = ["--trainer.enable_progress_bar", "false"]
    assert main(["fit", "--stages", "control", "--runs", str(runs), *corpus, *model, *epochs, *quiet]) == 0
    return runs / "fit" / "control_model"


@pytest.fixture(scope="module")
def recording(tmp_path_factory, tiny_ravdess) -> Path:
    samples, sample_rate = soundfile.read(min(tiny_ravdess.rglob("*.wav")))
    path = tmp_path_factory.mktemp("recording") / "clip.wav"
    soundfile.write(path, samples[:: sample_rate // 16_000], 16_000)
    return path


@pytest.mark.slow  # half a minute
def test_notebook(tiny_ravdess, tiny_face_features, tmp_path):
    cells = json.loads((EXAMPLES / "notebook.ipynb").read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["outputs"] for cell in cells if cell["cell_type"] == "code")  # it was executed
    features = {"root": str(tiny_ravdess), "face_features": str(tiny_face_features)}
    data = features | {"protocol": "loso24", "cache": str(tmp_path / "cache")}
    assert "data = {}" in code[0]
    code[0] = code[0].replace("data = {}", f"data = {data}")
    program = "\n".join([*code, 'print([own.stages[stage]["reused"] for stage in own.stages])'])
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "[True, True, False, False]"  # the loss is part of transfer and finetune


def labels_in(lines: list[str]) -> set[str]:
    return set(re.findall(r": (\w+)", "\n".join(lines)))


def test_train_lightning(run, tiny_videos, tmp_path):
    teacher = tmp_path / "teacher.safetensors"
    settings = ["--backbone", "test_efficientnet", "--random-weights", "--epochs", 1, "--teacher", teacher]
    lines = run("train_lightning.py", tiny_videos, "--protocol", "loso24", *settings)
    student, control, gain = map(float, re.findall(r"[+-]?\d\.\d+|[+-]\d+\.\d", lines[-1]))
    assert gain == pytest.approx(100 * (student - control), abs=0.2)
    assert teacher.is_file()


def test_distil_in_own_loop(run):
    lines = run("distil_in_own_loop.py", "--steps", 60)
    losses = [float(line.split("task loss ")[1]) for line in lines]
    assert losses[-1] < losses[0]


def test_train_own_corpus(run, tiny_ravdess, tmp_path):
    corpus = shutil.copytree(tiny_ravdess, tmp_path / "corpus")
    rows = ["clip,audio,label,speaker"]
    for wav in sorted(corpus.rglob("*.wav")):
        _, _, emotion, *_, actor = wav.stem.split("-")
        label = "strong" if emotion > "04" else "weak"
        rows.append(f"{wav.stem[3:]},{wav.relative_to(corpus).as_posix()},{label},{actor}")
    manifest = corpus / "corpus.csv"
    manifest.write_text("\n".join([*rows, "lost,nowhere.wav,weak,01"]), encoding="utf-8")
    lines = run("train_own_corpus.py", manifest, "--folds", 3, "--epochs", 1)
    assert lines[0].startswith("64 clips")
    assert any("nowhere.wav" in line or "lost" in line for line in lines if line.startswith("excluded"))
    assert 0 <= float(lines[-1].rsplit(maxsplit=1)[-1]) <= 1


def test_recognize_files(run, model_folder, recording, tiny_ravdess, tmp_path):
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"no audio")
    lines = run("recognize_files.py", model_folder, recording, tiny_ravdess / "Actor_01", broken)
    assert len(lines) == 18
    assert labels_in(lines[:17]) <= LABELS
    assert lines[-1].startswith(str(broken))


def test_recognize_stream_and_timeline(run, model_folder, recording):
    windows = ("--window", 0.5, "--hop", 0.25)
    lines = run("recognize_stream.py", model_folder, recording, *windows)
    assert [float(line.split()[0]) for line in lines[:3]] == [0.5, 0.75, 1.0]
    assert labels_in(lines) <= LABELS
    lines = run("timeline.py", model_folder, recording, *windows)
    assert float(lines[0].split()[0]) == 0
    assert float(lines[-1].split()[2]) == pytest.approx(soundfile.info(recording).duration, abs=0.01)


def test_export_and_run_without_torch(run, model_folder, recording, tmp_path):
    lines = run("export_onnx.py", model_folder, tmp_path / "exported", recording)
    assert float(lines[-1].rsplit(maxsplit=1)[-1]) < 1e-3
    script = str(EXAMPLES / "run_without_torch.py")
    blocked = "import runpy, sys; sys.modules.update(torch=None, crossmodal=None)"  # None makes an import fail
    code = f"{blocked}; runpy.run_path({script!r}, run_name='__main__')"
    command = [sys.executable, "-c", code, str(tmp_path / "exported" / "model.onnx"), str(recording)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    probabilities = [float(line.split(": ")[1]) for line in done.stdout.splitlines()]
    assert sum(probabilities) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_example_is_short_and_listed(script):
    assert len(script.read_text(encoding="utf-8").splitlines()) < 60
    for table in (EXAMPLES / "README.md", EXAMPLES.parent / "docs" / "examples.md"):
        assert script.name in table.read_text(encoding="utf-8")
