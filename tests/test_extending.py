"""The examples of docs/extending.md, in Python and on the command line."""

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from lightning.pytorch.cli import LightningCLI

from crossmodal import EmotionRecognizer
from crossmodal.cli.main import main
from crossmodal.errors import ExportError, UntrustedCodeError
from crossmodal.inference.export import export_model
from crossmodal.inference.model_folder import load_model_folder
from crossmodal.inference.onnx_graph import to_onnx
from crossmodal.models import AudioClassifier, FaceClassifier
from crossmodal.models.serialization import load_model
from crossmodal.own_code import trusting
from crossmodal.pipeline.settings import parse_settings
from crossmodal.storage import read_json
from crossmodal.tasks import FinetuneTask, TransferTask
from tests.tasks.tiny import fit, loader, voices
from tests.test_docs import blocks, command_lines, page_modules

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"
STAGES = ["teacher", "supervised", "control", "transfer", "finetune"]

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the modules of the page, which is the current one."""
    folder = tmp_path_factory.mktemp("extending")
    with page_modules(PAGE, folder):
        yield folder


@pytest.fixture(scope="module")
def args(folder, tiny_ravdess, tiny_face_features):
    """The command line of the page, with tiny data and one epoch."""
    words = next(words for words in command_lines(PAGE) if words[0] == "fit")
    corpus = {"ravdess": str(tiny_ravdess), "au.csv": str(tiny_face_features)}
    short = ["--data.cache=cache", "--data.protocol=loso24", "--data.batch_size=16"]
    epochs = [f"--{stage}.trainer.max_epochs=1" for stage in ("teacher", "transfer", "finetune")]
    return [*(corpus.get(word, word) for word in words), *short, *epochs, "--trainer.enable_progress_bar=false"]


@pytest.fixture(scope="module")
def run(args, folder):
    assert main(args) == 0
    return folder / "runs" / "fit"


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "voice.wav"
    soundfile.write(path, 0.3 * np.sin(np.arange(16000) / 20), 16000)
    return path


def test_the_run_has_the_parts_of_the_page(run):
    assert list(read_json(run / "summary.json")["stages"]) == STAGES
    config = read_json(run / "model" / "config.json")["model"]
    assert (config["front_end"], config["encoder"]) == ("my_parts.LearnedFilters", "my_parts.ConvEncoder")
    assert config["encoder_kwargs"] == {"width": 16, "pooling": "my_parts.MaxPooling"}
    with trusting():
        teacher, _ = load_model(FaceClassifier, run / "teacher" / "model.safetensors")
    assert type(teacher.encoder.module).__name__ == "FaceGRU"
    assert "trust_own_code=True" in (run / "model" / "README.md").read_text()


def test_yaml_gives_the_settings_of_the_command_line(folder, args):
    (text,) = blocks(PAGE, "yaml")
    (folder / "own.yaml").write_text(text)
    settings = parse_settings(["--config", "own.yaml"])
    student = FinetuneTask(**settings["transfer"]["model"])
    other = FinetuneTask(**parse_settings(args[1:])["transfer"]["model"])
    assert student.model.config == other.model.config
    names = [[type(one).__name__ for one in (*task.augmentation.waveform, *task.augmentation.on_features)]
             for task in (student, other)]  # fmt: skip
    assert names == [["Inversion", "FeatureNoise"]] * 2
    assert settings["teacher"]["model"]["encoder"] == "my_parts.FaceGRU"


def test_the_python_example(folder, monkeypatch, tiny_ravdess):
    example = next(block for block in blocks(PAGE, "python") if "FinetuneTask(" in block)
    example = example.replace("AudioDataModule()", f"AudioDataModule({str(tiny_ravdess)!r}, protocol='loso24')")
    monkeypatch.syspath_prepend(folder)
    quiet = "max_epochs=1, limit_train_batches=1, limit_val_batches=1, logger=False, enable_progress_bar=False"
    names = {}
    exec(example.replace("max_epochs=1", f"{quiet}, enable_model_summary=False"), names)
    task, again = names["task"], names["again"]
    assert again.model.config == task.model.config
    assert task.hparams["encoder"] == "my_parts.ConvEncoder"
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in task.state_dict().items())
    assert torch.load("own.ckpt", weights_only=True)["hyper_parameters"]["augmentation"] == {
        "noise": {"class_path": "my_parts.FeatureNoise", "init_args": {"std": 0.2}}
    }
    sys.modules.pop("my_parts")
    with pytest.raises(UntrustedCodeError, match=r"own\.ckpt"):
        FinetuneTask.load_from_checkpoint("own.ckpt")
    assert "my_parts" not in sys.modules


@pytest.mark.parametrize("command", ["predict", "test", "export", "serve", "python"])
def test_nothing_is_imported_without_trust(command, run, recording, capsys):
    model = str(run / "model")
    sys.modules.pop("my_parts", None)
    if command == "python":
        loads = [
            lambda: load_model_folder(model),
            lambda: EmotionRecognizer.from_pretrained(model),
            lambda: load_model(AudioClassifier, run / "finetune" / "model.safetensors"),
            lambda: load_model(FaceClassifier, run / "teacher" / "model.safetensors"),
            lambda: TransferTask(teacher=str(run / "teacher" / "model.safetensors")),
        ]
        for load in loads:
            with pytest.raises(UntrustedCodeError, match="my_parts"):
                load()
    else:
        args = {"predict": ["--model", model, str(recording)], "test": ["--model", model], "serve": [model, "--port=0"]}
        assert main([command, *args.get(command, [model])]) == 1
        assert "trust_own_code" in capsys.readouterr().err
    assert "my_parts" not in sys.modules


def test_a_trusted_model_predicts_tests_and_exports(run, recording, args, tmp_path, capsys):
    model = str(run / "model")
    assert main(["predict", "--model", model, "--trust_own_code", str(recording)]) == 0
    corpus = [args[args.index("--data.root") + 1], "--data.cache=cache"]
    assert main(["test", "--model", model, "--trust_own_code", "--data.root", *corpus]) == 0
    (exported,) = export_model(model, tmp_path / "exported", trust_own_code=True)
    assert exported.largest < 1e-4
    trusted = EmotionRecognizer.from_pretrained(model, trust_own_code=True)
    without = EmotionRecognizer.from_pretrained(tmp_path / "exported")  # needs no trust
    expected = trusted(recording).probabilities
    assert without(recording).probabilities == pytest.approx(expected, abs=1e-4)


def test_an_edit_of_the_class_retrains(run, args, folder):
    def reused():
        assert main([*args, "--stages", "control", "--name", "edited"]) == 0
        return read_json(run.with_name("edited") / "summary.json")["stages"]["control"]["reused"]

    source = folder / "my_parts.py"
    before = source.read_text()
    assert reused()
    source.write_text(f"{before}\n# Changed.\n")
    try:
        assert not reused()
    finally:
        source.write_text(before)


@pytest.mark.parametrize(
    ("option", "value", "word"),
    [
        ("encoder", "my_parts.ConvEncodr", "ConvEncodr"),
        ("encoder", "my_prts.ConvEncoder", "my_prts"),
        ("encoder.init_args.widht", "3", "widht"),
        ("front_end", "mfc", "'mfcc'"),
        ("front_end", "my_parts.Inversion", "num_features"),
        ("augmentation", "{my_parts.Inversoin: {}}", "Inversoin"),
        ("encoder_kwargs.pooling", "my_parts.MaxPoling", "MaxPoling"),
    ],
)
def test_typos_end_before_training(folder, args, option, value, word, capsys):
    own = ["--transfer.model.encoder=my_parts.ConvEncoder", f"--transfer.model.{option}", value]
    runs = ["--runs=typos", "--stages=control", "--data.cache=cache"]
    data = args[1 : args.index("--transfer.model.front_end")]
    assert main(["fit", *data, *runs, "--data.protocol=loso24", *own]) == (2 if "init_args" in option else 1)
    assert word in capsys.readouterr().err


def test_lightning_cli_accepts_class_paths(folder):
    encoder = {"class_path": "my_parts.ConvEncoder", "init_args": {"width": 8}}
    model = {"encoder": encoder, "num_classes": 4}
    cli = LightningCLI(FinetuneTask, args={"model": model}, run=False, save_config_callback=None)
    assert cli.model.model.config["encoder_kwargs"] == {"width": 8, "pooling": "mean"}
    fit(cli.model, loader(voices([0, 1, 2, 3]))).save_checkpoint("cli.ckpt")
    sys.modules.pop("my_parts")
    with pytest.raises(UntrustedCodeError):
        FinetuneTask.load_from_checkpoint("cli.ckpt")
    assert "my_parts" not in sys.modules
    again = FinetuneTask.load_from_checkpoint("cli.ckpt", trust_own_code=True)
    assert again.model.config == cli.model.model.config


def test_a_part_that_cannot_be_exported_is_named(folder):
    code = "import my_parts\nclass Fft(my_parts.ConvEncoder):\n    def forward(self, features, length):\n"
    code += "        return super().forward(features, length) + features.to(complex).angle().sum()\n"
    (folder / "my_fft.py").write_text(code)
    model = AudioClassifier(encoder="my_fft.Fft").eval()
    with pytest.raises(ExportError, match=r"my_fft\.Fft"):
        to_onnx(model, [str(number) for number in range(8)], 1.0)
