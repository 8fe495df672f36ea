import csv
import io
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from crossmodal import EmotionRecognizer
from crossmodal.cli import predict as command
from crossmodal.cli.main import main
from crossmodal.cli.predict import picture_paths
from crossmodal.errors import ConfigError
from crossmodal.inference.predict import listening
from crossmodal.inference.predict.inputs import Input
from tests.inference.conftest import LABELS


@pytest.fixture
def with_a_bad_file(folder):
    (folder / "bad.wav").write_bytes(b"")
    return folder


@pytest.fixture
def predict(model_folder, capsys):
    """Run a command line; returns its status, what it printed, and what it said on stderr."""

    def run(*words):
        status = main(["predict", "--model", str(model_folder), *map(str, words)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def long_wav(tmp_path):
    """Ten seconds in which the sound changes, and pauses."""
    generator = np.random.default_rng(0)
    samples = generator.uniform(-0.5, 0.5, 160_000) * np.repeat([1, 0.1, 0, 0.5], 40_000)
    samples[120_000:] = 0.5 * np.sin(np.arange(40_000) / 8)
    soundfile.write(tmp_path / "long.wav", samples, 16_000)
    return tmp_path / "long.wav"


class TestFormats:
    def test_json(self, folder, recognizer, predict):
        status, out, _ = predict("--format", "json", folder)
        said = json.loads(out)
        assert status == 0
        assert [one["file"] for one in said] == [str(folder / "a.wav"), str(folder / "deeper" / "B.MP4")]
        for one in said:
            expected = recognizer(one["file"])
            assert (one["label"], one["score"]) == (expected.label, pytest.approx(expected.score, abs=1e-6))
            assert one["probabilities"] == pytest.approx(expected.probabilities, abs=1e-6)

    def test_json_lines_come_as_they_are_heard(self, folder, predict, monkeypatch):
        _, expected, _ = predict("--format", "json", folder)
        written = []
        hear = listening.hear
        monkeypatch.setattr(
            listening, "hear", lambda *args: written.append(sys.stdout.getvalue().count("\n")) or hear(*args)
        )
        monkeypatch.setattr(listening, "_TOGETHER", 1)
        status, out, _ = predict("--format", "jsonl", folder)
        assert status == 0
        lines = [json.loads(line) for line in out.splitlines()]
        assert [line["label"] for line in lines] == [one["label"] for one in json.loads(expected)]
        assert written == [0, 1]

    def test_csv(self, folder, recognizer, predict):
        status, out, _ = predict(folder / "a.wav", "--format", "csv")
        (row,) = csv.DictReader(io.StringIO(out))
        expected = recognizer(folder / "a.wav")
        assert status == 0
        assert list(row) == ["file", "label", "score", *LABELS, "error"]
        assert (row["file"], row["label"], row["error"]) == (str(folder / "a.wav"), expected.label, "")
        assert float(row["score"]) == pytest.approx(expected.score, abs=1e-6)
        for label in LABELS:
            assert float(row[label]) == pytest.approx(expected.probabilities[label], abs=1e-6)

    def test_table(self, folder, recognizer, predict, monkeypatch):
        monkeypatch.chdir(folder)
        status, out, _ = predict("a.wav")
        header, row, *rest = out.splitlines()
        assert (status, rest) == (0, [])
        assert header.split() == ["file", "emotion", "probability", "next"]
        expected = recognizer(folder / "a.wav")
        assert row.split()[:3] == ["a.wav", expected.label, f"{expected.score:.2f}"]
        assert f"{sorted(expected.probabilities.values())[-2]:.2f}" in row

    def test_a_row_of_the_table_is_not_broken_in_a_pipe_and_a_name_is_no_markup(self, folder, predict):
        path = folder / ("x" * 150 + " [bold]take[1].wav")
        shutil.copy(folder / "a.wav", path)
        _, out, _ = predict(path)
        assert str(path) in out

    def test_silence_is_told_in_every_format(self, tmp_path, predict):
        path = tmp_path / "silent.wav"
        soundfile.write(path, np.zeros(16_000), 16_000)
        assert "silence" in predict(path)[1]
        assert json.loads(predict(path, "--format", "json")[1])[0]["label"] == "silence"
        (row,) = csv.DictReader(io.StringIO(predict(path, "--format", "csv")[1]))
        assert (row["label"], row["score"], row["calm"]) == ("silence", "1.000000", "")
        (window,) = csv.DictReader(io.StringIO(predict(path, "--format", "csv", "--timeline")[1]))
        assert (window["start"], window["end"], window["label"]) == ("0.000", "1.000", "silence")
        assert predict(path, "--format", "audacity")[1] == "0.000000\t1.000000\tsilence\n"


class TestTimeline:
    def test_json_holds_all_of_it(self, long_wav, recognizer, predict):
        status, out, _ = predict(long_wav, "--timeline", "--window", 2, "--hop", 1, "--format", "json")
        (said,) = json.loads(out)
        assert status == 0
        assert said == {"file": str(long_wav), **recognizer.timeline(long_wav, window=2.0, hop=1.0).as_dict()}
        assert len(said["windows"]) == 9
        assert {segment["label"] for segment in said["segments"]} >= {"silence"}

    def test_the_table_has_a_row_for_each_segment(self, long_wav, recognizer, predict):
        _, out, _ = predict(long_wav, "--timeline")
        header, *rows = out.splitlines()
        assert header.split() == ["file", "from", "to", "emotion", "probability"]
        segments = recognizer.timeline(long_wav).segments
        assert [row.split()[3] for row in rows] == [segment.label for segment in segments]
        assert rows[-1].split()[2] == "0:10.0"

    def test_csv_has_a_row_for_each_window(self, long_wav, recognizer, predict):
        _, out, _ = predict(long_wav, "--timeline", "--format", "csv")
        rows = list(csv.DictReader(io.StringIO(out)))
        windows = recognizer.timeline(long_wav).windows
        assert list(rows[0]) == ["file", "start", "end", "label", "score", *LABELS, "error"]
        assert [float(row["start"]) for row in rows] == [window.start for window in windows]
        assert float(rows[0]["calm"]) == pytest.approx(windows[0].prediction.probabilities["calm"], abs=1e-6)

    def test_audacity_reads_the_label_track(self, long_wav, recognizer, predict):
        status, out, _ = predict(long_wav, "--format", "audacity")
        rows = [line.split("\t") for line in out.splitlines()]
        assert status == 0
        assert [(float(start), float(end), label) for start, end, label in rows] == [
            (segment.start, segment.end, segment.label) for segment in recognizer.timeline(long_wav).segments
        ]

    def test_a_label_track_is_of_one_recording(self, folder, predict):
        status, out, err = predict(folder, "--format", "audacity")
        assert (status, out) == (1, "")
        assert "A label track is of one recording, and there are 2" in err

    @pytest.mark.parametrize("words", [["--window", "1"], ["--hop", "0.25"]])
    def test_a_window_or_a_hop_asks_for_it(self, long_wav, predict, words):
        assert predict(long_wav, *words)[1].split()[:3] == ["file", "from", "to"]

    @pytest.mark.parametrize("words", [["--window", "0"], ["--hop", "0"], ["--hop", "4"], ["--window", "nan"]])
    def test_one_that_cannot_be(self, long_wav, predict, words):
        status, out, err = predict(long_wav, *words)
        assert (status, out) == (1, "")
        assert "must be" in err


class TestPlot:
    def test_of_one_recording_it_is_a_file(self, long_wav, predict, tmp_path):
        status, out, _ = predict(long_wav, "--plot", tmp_path / "pictures" / "out.png")
        assert (status, out.split()[:3]) == (0, ["file", "from", "to"])
        assert (tmp_path / "pictures" / "out.png").read_bytes().startswith(b"\x89PNG")

    def test_of_several_it_is_a_folder(self, with_a_bad_file, predict, tmp_path):
        status, _, _ = predict(with_a_bad_file, "--plot", tmp_path / "pictures", "--format", "json")
        assert status == 1
        assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["B.MP4.png", "a.wav.png"]

    def test_recordings_of_one_name_get_pictures_of_two(self):
        inputs = [Input(name) for name in ("a/x.wav", "b/x.wav", "b/x.mp3", "-")]
        assert [path.name for path in picture_paths("out", inputs).values()] == [
            "x.wav.png",
            "x.wav.2.png",
            "x.mp3.png",
            "standard_input.png",
        ]

    def test_one_picture_for_several_is_refused_before_anything_is_heard(self, folder, predict, monkeypatch):
        monkeypatch.setattr(listening, "hear", lambda *args: pytest.fail("it was heard"))
        status, _, err = predict(folder, "--plot", "out.png")
        assert status == 1
        assert "--plot out.png is one picture, and there are 2 recordings: name a folder" in err
        assert "must end in .png, .pdf, .svg" in predict(folder / "a.wav", "--plot", "out.gif")[2]


class TestStandardInput:
    @pytest.mark.parametrize("words", [[], ["--timeline"]])
    def test_a_recording_is_piped_into_it(self, long_wav, predict, monkeypatch, words):
        expected = json.loads(predict(long_wav, "--format", "json", *words)[1])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(long_wav.read_bytes())))
        status, out, _ = predict("-", "--format", "json", *words)
        assert status == 0
        assert json.loads(out) == [{**expected[0], "file": "-"}]

    def test_what_is_no_recording_is_told(self, predict, monkeypatch):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
        status, _, err = predict("-")
        assert (status, err) == (1, "crossmodal predict: standard input: the file is empty (0 bytes)\n")


class TestFailures:
    @pytest.mark.parametrize("words", [[], ["--timeline"]])
    def test_one_bad_file_does_not_stop_the_others_but_the_status_is_1(self, with_a_bad_file, predict, words):
        missing = with_a_bad_file / "gone.wav"
        status, out, err = predict("--format", "json", *words, with_a_bad_file, missing)
        said = {Path(one["file"]).name: one for one in json.loads(out)}
        assert status == 1
        assert said.keys() == {"a.wav", "B.MP4", "bad.wav", "gone.wav"}
        assert sorted(name for name, one in said.items() if "error" not in one) == ["B.MP4", "a.wav"]
        assert said["bad.wav"]["error"] == f"{with_a_bad_file / 'bad.wav'}: the file is empty (0 bytes)"
        assert said["gone.wav"]["error"] == f"{missing}: there is no such file or folder"
        assert f"crossmodal predict: {missing}: there is no such file or folder\n" in err

    @pytest.mark.parametrize("form", ["csv", "table", "jsonl"])
    def test_a_bad_file_is_told_in_every_format(self, with_a_bad_file, predict, form):
        status, out, err = predict("--format", form, with_a_bad_file)
        assert status == 1
        assert "bad.wav: the file is empty (0 bytes)" in err
        if form == "csv":
            rows = {Path(row["file"]).name: row for row in csv.DictReader(io.StringIO(out))}
            assert rows["bad.wav"]["error"].endswith("the file is empty (0 bytes)")
            assert rows["bad.wav"]["label"] == rows["bad.wav"]["calm"] == ""
            assert rows["a.wav"]["label"] in LABELS

    def test_a_bad_file_comes_first_in_a_csv_of_timelines(self, with_a_bad_file, predict):
        _, out, _ = predict("--format", "csv", "--timeline", with_a_bad_file / "bad.wav", with_a_bad_file / "a.wav")
        first, *rest = csv.DictReader(io.StringIO(out))
        assert first["error"].endswith("(0 bytes)")
        assert [row["file"] for row in rest] == [str(with_a_bad_file / "a.wav")]

    def test_nothing_but_failures(self, tmp_path, predict):
        status, out, err = predict(tmp_path, tmp_path / "*.ogg")
        assert (status, out) == (1, "")
        assert err.splitlines() == [
            f"crossmodal predict: {tmp_path}: no sound or video file in this folder, nor below it",
            f"crossmodal predict: {tmp_path / '*.ogg'}: nothing matches it",
        ]

    def test_a_model_that_is_not_there_is_one_line(self, folder, capsys):
        assert main(["predict", str(folder), "--model", "nowhere"]) == 1
        assert capsys.readouterr().err.startswith("crossmodal predict: nowhere is not a model folder")

    def test_ctrl_c(self, folder, predict, monkeypatch):
        monkeypatch.setattr(listening, "_TOGETHER", 1)
        hear = listening.hear

        def stop_at_the_second(order, inputs):
            if inputs[0].name.endswith("B.MP4"):
                raise KeyboardInterrupt
            return hear(order, inputs)

        monkeypatch.setattr(listening, "hear", stop_at_the_second)
        status, out, err = predict(folder, "--format", "json")
        assert (status, err) == (130, "crossmodal predict: stopped\n")
        assert [one["file"] for one in json.loads(out)] == [str(folder / "a.wav")]  # whole, as far as it goes

    def test_no_jobs(self, folder, predict):
        assert "--jobs is the number of processes, 1 or more, not 0" in predict(folder, "--jobs", 0)[2]


class TestProgress:
    @pytest.fixture
    def terminal(self, monkeypatch):
        """Stderr is a screen; the bars that were shown."""
        monkeypatch.setattr(command, "_is_screen", lambda stream: stream is sys.stderr)
        monkeypatch.setattr(command, "_MANY", 1)
        bars = []
        monkeypatch.setattr(command, "progress_bar", lambda: bars.append(True) or bar())
        return bars

    def test_of_many_recordings_it_is_shown_and_stdout_stays_clean(self, folder, predict, terminal):
        _, out, _ = predict(folder, "--format", "jsonl")
        assert len(terminal) == 1
        assert [Path(json.loads(line)["file"]).name for line in out.splitlines()] == ["a.wav", "B.MP4"]

    def test_of_one_it_is_not(self, folder, predict, terminal):
        predict(folder / "a.wav")
        assert terminal == []

    def test_where_nobody_watches_it_is_not(self, folder, predict, terminal, monkeypatch):
        monkeypatch.setattr(command, "_is_screen", lambda stream: False)
        predict(folder)
        assert terminal == []

    def test_beside_lines_on_the_same_screen_it_is_not(self, folder, predict, terminal, monkeypatch):
        monkeypatch.setattr(command, "_is_screen", lambda stream: True)
        predict(folder, "--format", "jsonl")
        assert terminal == []


def bar():
    from rich.console import Console
    from rich.progress import Progress

    return Progress(console=Console(file=io.StringIO(), force_terminal=True))


@pytest.mark.slow
class TestProcesses:
    def test_two_say_what_one_says(self, tiny_ravdess, with_a_bad_file, predict):
        shutil.copytree(tiny_ravdess / "Actor_01", with_a_bad_file / "Actor_01")
        alone = predict(with_a_bad_file, "--format", "csv")
        assert alone[0] == 1
        assert len(alone[1].splitlines()) == 1 + 3 + 16
        assert predict(with_a_bad_file, "--format", "csv", "--jobs", 2) == alone

    def test_one_that_ends_its_process_is_told_and_the_others_are_heard(self, model_folder, folder, monkeypatch):
        monkeypatch.setattr(listening, "hear", hear_or_die)
        for name in ("deadly.wav", "c.wav", "d.wav", "e.wav", "f.wav"):
            shutil.copy(folder / "a.wav", folder / name)
        inputs = [Input(str(path), path) for path in sorted(folder.glob("*.wav"))]
        order = listening.Order(str(model_folder))
        heard = list(listening.listen(inputs, order, jobs=2))
        assert [Path(one.name).name for one in heard] == [path.name for path in sorted(folder.glob("*.wav"))]
        assert [one.error is None for one in heard] == ["deadly" not in one.name for one in heard]
        (deadly,) = [one for one in heard if one.error]
        assert deadly.error.endswith("deadly.wav: it ends its decoder (exit code 11)")

    def test_a_model_that_cannot_be_rebuilt_is_one_line(self, model_folder, folder, tmp_path, capsys):
        damaged = shutil.copytree(model_folder, tmp_path / "damaged")
        (damaged / "model.safetensors").write_bytes(b"nothing")
        for name in "bcdef":
            shutil.copy(folder / "a.wav", folder / f"{name}.wav")
        assert main(["predict", "--model", str(damaged), str(folder), "--jobs", "2"]) == 1
        assert "damaged cannot be rebuilt" in capsys.readouterr().err


_HEAR = listening.hear


def hear_or_die(order, inputs):
    """What a decoder does that a file makes crash."""
    import os

    if any("deadly" in one.name for one in inputs):
        os._exit(11)
    return _HEAR(order, inputs)


def test_a_recognizer_is_loaded_once(folder, model_folder, monkeypatch):
    loaded = []
    load = EmotionRecognizer.from_pretrained
    monkeypatch.setattr(
        EmotionRecognizer, "from_pretrained", lambda *args, **kwargs: loaded.append(args) or load(*args, **kwargs)
    )
    listening._recognizer.cache_clear()
    order = listening.Order(str(model_folder), window=2.0)
    list(listening.listen([Input("a", folder / "a.wav"), Input("b", folder / "a.wav")], order))
    assert len(loaded) == 1


def test_pictures_are_named_before_they_are_drawn(tmp_path):
    assert picture_paths(str(tmp_path), [Input("x/a.wav")]) == {"x/a.wav": tmp_path / "a.wav.png"}
    with pytest.raises(ConfigError, match=r"must end in \.png, \.pdf, \.svg, or be a folder"):
        picture_paths("out.jpeg", [Input("a.wav")])
