import csv
import io
import json
import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from crossmodal.cli.main import main
from crossmodal.cli.predict import plot_paths
from crossmodal.inference.model_config import read_config
from crossmodal.inference.predict import predictor
from crossmodal.inference.predict.inputs import Input
from crossmodal.inference.predict.predictor import FilePredictor
from tests.inference.conftest import LABELS


@pytest.fixture
def damaged_folder(folder):
    (folder / "bad.wav").write_bytes(b"")
    return folder


@pytest.fixture
def predict(model_folder, capsys):
    """Run a command line and return its status, stdout and stderr."""

    def run(*arguments):
        status = main(["predict", "--model", str(model_folder), *map(str, arguments)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def before_each(monkeypatch):
    """Return a function that sets what is called before each recording is predicted, one at a time."""
    predict_batch = FilePredictor.predict_batch

    def install(function):
        monkeypatch.setattr(predictor, "_BATCH_SIZE", 1)
        monkeypatch.setattr(
            FilePredictor, "predict_batch", lambda self, inputs: function(*inputs) or predict_batch(self, inputs)
        )

    return install


@pytest.fixture
def long_wav(tmp_path):
    """Write ten seconds of changing sound with a pause."""
    generator = np.random.default_rng(0)
    samples = generator.uniform(-0.5, 0.5, 160_000) * np.repeat([1, 0.1, 0, 0.5], 40_000)
    samples[120_000:] = 0.5 * np.sin(np.arange(40_000) / 8)
    soundfile.write(tmp_path / "long.wav", samples, 16_000)
    return tmp_path / "long.wav"


def rows_of(table):
    return list(csv.DictReader(io.StringIO(table)))


class TestFormats:
    def test_json_and_csv(self, folder, recognizer, predict):
        status, out, _ = predict("--format", "json", folder)
        results, rows = json.loads(out), rows_of(predict("--format", "csv", folder)[1])
        assert status == 0
        assert [one["file"] for one in results] == [str(folder / "a.wav"), str(folder / "deeper" / "B.MP4")]
        assert [row["file"] for row in rows] == [one["file"] for one in results]
        assert list(rows[0]) == ["file", "label", "score", *LABELS, "error"]
        for one, row in zip(results, rows, strict=True):
            expected = recognizer(one["file"])
            assert (one["label"], one["score"]) == (expected.label, pytest.approx(expected.score, abs=1e-6))
            assert one["probabilities"] == pytest.approx(expected.probabilities, abs=1e-6)
            assert (row["label"], row["error"]) == (expected.label, "")
            assert {key: float(row[key]) for key in LABELS} == pytest.approx(expected.probabilities, abs=1e-6)

    def test_model_of_the_synthetic_corpus_warns_once_and_in_json(self, folder, save, summary, predict, capsys):
        model = save(corpus=summary["corpus"] | {"kind": "synthetic"})
        for options in (["--format=json"], ["--format=jsonl"], ["--format=json", "--timeline"], ["--format=csv"]):
            assert main(["predict", "--model", str(model), *options, str(folder)]) == 0
            captured = capsys.readouterr()
            (line,) = captured.err.splitlines()
            assert "synthetic" in line
            if "csv" not in options[0]:
                text = captured.out if options[0][9:] == "json" else f"[{','.join(captured.out.splitlines())}]"
                assert [one["warning"] in line for one in json.loads(text)] == [True, True]
        _, out, err = predict("--format", "json", folder)
        assert (err, ["warning" in one for one in json.loads(out)]) == ("", [False, False])

    def test_json_lines_are_written_immediately(self, folder, predict, before_each):
        _, expected, _ = predict("--format", "json", folder)
        written = []
        before_each(lambda item: written.append(sys.stdout.getvalue().count("\n")))
        status, out, _ = predict("--format", "jsonl", folder)
        assert status == 0
        lines = [json.loads(line) for line in out.splitlines()]
        assert [line["label"] for line in lines] == [one["label"] for one in json.loads(expected)]
        assert written == [0, 1]

    def test_table(self, folder, recognizer, predict, monkeypatch):
        monkeypatch.chdir(folder)
        status, out, _ = predict("a.wav")
        header, row, *rest = out.splitlines()
        assert (status, rest) == (0, [])
        assert header.split() == ["file", "emotion", "probability", "next"]
        expected = recognizer(folder / "a.wav")
        assert row.split()[:3] == ["a.wav", expected.label, f"{expected.score:.2f}"]
        assert f"{sorted(expected.probabilities.values())[-2]:.2f}" in row

    def test_table_rows_in_a_pipe_are_not_wrapped_and_names_are_not_markup(self, folder, predict):
        path = shutil.copy(folder / "a.wav", folder / ("x" * 150 + " [bold]take[1].wav"))
        assert str(path) in predict(path)[1]

    def test_silence_in_every_format(self, tmp_path, predict):
        path = tmp_path / "silent.wav"
        soundfile.write(path, np.zeros(16_000), 16_000)
        assert "silence" in predict(path)[1]
        assert json.loads(predict(path, "--format", "json")[1])[0]["label"] == "silence"
        (row,) = rows_of(predict(path, "--format", "csv")[1])
        assert (row["label"], row["score"], row["calm"]) == ("silence", "1.000000", "")
        (window,) = rows_of(predict(path, "--format", "csv", "--timeline")[1])
        assert (window["start"], window["end"], window["label"]) == ("0.000", "1.000", "silence")
        assert predict(path, "--format", "audacity")[1] == "0.000000\t1.000000\tsilence\n"

    @pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
    @pytest.mark.parametrize("form", ["table", "csv", "json", "jsonl"])
    def test_names_that_the_output_cannot_show_are_escaped(self, folder, model_folder, encoding, form, monkeypatch):
        names = ["a.wav", "m\u65e5\xe9\U0001f600.wav", "z.wav"]
        for name in names[1:]:
            shutil.copy(folder / "a.wav", folder / name)
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
        assert main(["predict", "--model", str(model_folder), *names, "--format", form]) == 0
        sys.stdout.flush()
        out = sys.stdout.buffer.getvalue().decode(encoding)
        if form in ("json", "jsonl"):
            results = json.loads(out) if form == "json" else [json.loads(line) for line in out.splitlines()]
            assert [one["file"] for one in results] == names
        else:
            escaped = [name.encode(encoding, "backslashreplace").decode(encoding) for name in names]
            assert [line.split(",")[0].split()[0] for line in out.splitlines()[1:]] == escaped


class TestTimeline:
    def test_json(self, long_wav, recognizer, predict):
        status, out, _ = predict(long_wav, "--timeline", "--window", 2, "--hop", 1, "--format", "json")
        (results,) = json.loads(out)
        assert status == 0
        assert results == {"file": str(long_wav), **recognizer.timeline(long_wav, window=2.0, hop=1.0).as_dict()}
        assert len(results["windows"]) == 9
        assert {segment["label"] for segment in results["segments"]} >= {"silence"}

    def test_table_and_label_track_have_one_row_per_segment(self, long_wav, recognizer, predict):
        header, *rows = predict(long_wav, "--timeline")[1].splitlines()
        track = [line.split("\t") for line in predict(long_wav, "--format", "audacity")[1].splitlines()]
        segments = recognizer.timeline(long_wav).segments
        assert header.split() == ["file", "from", "to", "emotion", "probability"]
        assert [row.split()[3] for row in rows] == [segment.label for segment in segments]
        assert rows[-1].split()[2] == "0:10.0"
        assert [(float(start), float(end), label) for start, end, label in track] == [
            (segment.start, segment.end, segment.label) for segment in segments
        ]

    def test_csv_has_one_row_per_window(self, long_wav, recognizer, predict):
        rows = rows_of(predict(long_wav, "--timeline", "--format", "csv")[1])
        windows = recognizer.timeline(long_wav).windows
        assert list(rows[0]) == ["file", "start", "end", "label", "score", *LABELS, "error"]
        assert [float(row["start"]) for row in rows] == [window.start for window in windows]
        assert float(rows[0]["calm"]) == pytest.approx(windows[0].prediction.probabilities["calm"], abs=1e-6)

    def test_a_label_track_takes_one_recording(self, folder, predict):
        status, out, err = predict(folder, "--format", "audacity")
        assert (status, out) == (1, "")
        assert "label track" in err

    @pytest.mark.parametrize("arguments", [["--window", "1"], ["--hop", "0.25"]])
    def test_window_and_hop_imply_a_timeline(self, long_wav, predict, arguments):
        assert predict(long_wav, *arguments)[1].split()[:3] == ["file", "from", "to"]

    @pytest.mark.parametrize(
        "arguments, message",
        [
            *((arguments, "must be") for arguments in (["--window=0"], ["--hop=0"], ["--hop=4"], ["--window=nan"])),
            (["--jobs=0"], "--jobs"),
        ],
    )
    def test_invalid_arguments(self, long_wav, predict, arguments, message):
        status, out, err = predict(long_wav, *arguments)
        assert (status, out) == (1, "")
        assert message in err


class TestPlot:
    def test_one_recording_has_a_file_and_several_have_a_folder(self, long_wav, damaged_folder, predict, tmp_path):
        status, out, _ = predict(long_wav, "--plot", tmp_path / "pictures" / "out.png")
        assert (status, out.split()[:3]) == (0, ["file", "from", "to"])
        assert predict(damaged_folder, "--plot", tmp_path / "pictures", "--format", "json")[0] == 1
        names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
        assert names == ["B.MP4.png", "a.wav.png", "out.png"]

    def test_plot_paths(self, tmp_path):
        inputs = [Input(name) for name in ("a/x.wav", "b/x.wav", "b/x.mp3", "-")]
        names = ["x.wav.png", "x.wav.2.png", "x.mp3.png", "standard_input.png"]
        assert [path.name for path in plot_paths("out", inputs).values()] == names  # equal names differ
        assert plot_paths(str(tmp_path), inputs[:1]) == {"a/x.wav": tmp_path / "x.wav.png"}

    def test_invalid_plot_paths_are_rejected_before_prediction(self, folder, predict, before_each):
        before_each(lambda item: pytest.fail("it was predicted"))
        status, _, err = predict(folder, "--plot", "out.png")
        assert status == 1
        assert "--plot out.png" in err and "folder" in err
        assert ".png, .pdf, .svg" in predict(folder / "a.wav", "--plot", "out.gif")[2]


class TestStandardInput:
    @pytest.mark.parametrize("arguments", [[], ["--timeline"]])
    def test_a_piped_recording(self, long_wav, predict, monkeypatch, arguments):
        expected = json.loads(predict(long_wav, "--format", "json", *arguments)[1])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(long_wav.read_bytes())))
        status, out, _ = predict("-", "--format", "json", *arguments)
        assert status == 0
        assert json.loads(out) == [{**expected[0], "file": "-"}]

    def test_empty_standard_input(self, predict, monkeypatch):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
        status, _, err = predict("-")
        assert status == 1
        assert err.startswith("crossmodal predict: standard input: ") and "empty" in err


class TestFailures:
    @pytest.mark.parametrize("arguments", [[], ["--timeline"]])
    def test_bad_files_are_skipped_and_the_status_is_1(self, damaged_folder, predict, arguments):
        status, out, err = predict("--format", "json", *arguments, damaged_folder, damaged_folder / "gone.wav")
        errors = {Path(one["file"]).name: one.get("error") for one in json.loads(out)}
        assert status == 1
        assert (errors.pop("a.wav"), errors.pop("B.MP4"), {*errors}) == (None, None, {"bad.wav", "gone.wav"})
        for name, error in errors.items():
            assert error.startswith(f"{damaged_folder / name}: ")
            assert f"crossmodal predict: {error}\n" in err

    @pytest.mark.parametrize("arguments", [["csv"], ["table"], ["jsonl"], ["csv", "--timeline"]], ids=str)
    def test_a_bad_file_in_every_format(self, damaged_folder, predict, arguments):
        status, out, err = predict("--format", *arguments, damaged_folder)
        assert status == 1
        assert re.search(r"bad\.wav: .*empty", err)
        if arguments[0] == "csv":
            rows = {Path(row["file"]).name: row for row in rows_of(out)}
            assert "empty" in rows["bad.wav"]["error"]
            assert rows["bad.wav"]["label"] == rows["bad.wav"]["calm"] == ""
            assert rows["a.wav"]["label"] in LABELS

    def test_all_inputs_fail(self, tmp_path, predict):
        names = (tmp_path, tmp_path / "*.ogg")
        status, out, err = predict(*names)
        assert (status, out) == (1, "")
        for name, line in zip(names, err.splitlines(), strict=True):
            assert line.startswith(f"crossmodal predict: {name}: ")

    def test_ctrl_c(self, folder, predict, before_each):
        def interrupt_at_the_second(item):
            if item.name.endswith("B.MP4"):
                raise KeyboardInterrupt

        before_each(interrupt_at_the_second)
        status, out, err = predict(folder, "--format", "json")
        assert (status, err) == (130, "crossmodal predict: interrupted\n")
        assert [one["file"] for one in json.loads(out)] == [str(folder / "a.wav")]  # valid JSON with the first results

    def test_a_missing_model(self, folder, capsys):
        assert main(["predict", str(folder), "--model", "nowhere"]) == 1
        assert capsys.readouterr().err.startswith("crossmodal predict: nowhere ")


class CrashingPredictor(FilePredictor):
    """Predictor that crashes like a decoder with a malicious file."""

    def predict_batch(self, inputs):
        if any("deadly" in one.name for one in inputs):
            os._exit(11)
        return super().predict_batch(inputs)


@pytest.mark.slow
class TestProcesses:
    def test_two_processes_are_equivalent_to_one(self, tiny_ravdess, damaged_folder, predict):
        shutil.copytree(tiny_ravdess / "Actor_01", damaged_folder / "Actor_01")
        expected = predict(damaged_folder, "--format", "csv")
        assert expected[0] == 1
        assert len(expected[1].splitlines()) == 1 + 3 + 16
        assert predict(damaged_folder, "--format", "csv", "--jobs", 2) == expected

    def test_a_crash_is_reported_and_the_other_recordings_are_predicted(self, model_folder, folder):
        for name in ("deadly.wav", "c.wav", "d.wav", "e.wav", "f.wav"):
            shutil.copy(folder / "a.wav", folder / name)
        inputs = [Input(str(path), path) for path in sorted(folder.glob("*.wav"))]
        results = list(CrashingPredictor(model_folder, read_config(model_folder)).predict(inputs, jobs=2))
        assert [one.name for one in results] == [one.name for one in inputs]
        assert [one.error is None for one in results] == ["deadly" not in one.name for one in results]
        (error,) = [one.error for one in results if one.error]
        assert "deadly.wav" in error and "exit code 11" in error

    def test_a_damaged_model(self, model_folder, folder, tmp_path, capsys):
        damaged = shutil.copytree(model_folder, tmp_path / "damaged")
        (damaged / "model.safetensors").write_bytes(b"nothing")
        for name in "bcdef":
            shutil.copy(folder / "a.wav", folder / f"{name}.wav")
        assert main(["predict", "--model", str(damaged), str(folder), "--jobs", "2"]) == 1
        assert "damaged" in capsys.readouterr().err


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_the_config_of_a_model_is_read_once(backend, folder, model_folder, onnx_folder, capsys, monkeypatch):
    opened = []
    read_text = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda path, **kwargs: opened.append(path.name) or read_text(path, **kwargs))
    model = onnx_folder if backend == "onnx" else model_folder
    arguments = ["--model", str(model), "--backend", backend, "--timeline"]
    assert main(["predict", *arguments, str(folder / "a.wav"), str(folder / "deeper" / "B.MP4")]) == 0
    assert opened.count("config.json") == 1
