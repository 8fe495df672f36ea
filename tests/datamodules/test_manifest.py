import csv
import shutil

import numpy as np
import pytest
import soundfile
import torch

import tests.datamodules
from crossmodal import AudioDataModule, PairedDataModule, VideoDataModule
from crossmodal.datasets import index_ravdess
from crossmodal.datasets.synthetic import SYNTHETIC_MARKER
from crossmodal.errors import ConfigError, CorpusNotFoundError, LeakageError, ProtocolError

EVERYBODY = ["person 01", "person 02", "person 03"]
COLUMNS = ["clip", "audio", "video", "label", "speaker", "split", "start", "end"]


def write(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


@pytest.fixture(scope="module")
def recordings(tiny_videos, tmp_path_factory):
    """Return a folder of three people with eight emotions each, as wav and mp4, and the rows of their manifest."""
    folder = tmp_path_factory.mktemp("corpus")
    shutil.copytree(tiny_videos, folder / "media")
    rows = []
    for clip in index_ravdess(folder / "media").clips:
        files = {name: str(getattr(clip, name).relative_to(folder)) for name in ("audio", "video")}
        rows.append({"clip": f"take {clip.clip}", **files, "label": clip.label, "speaker": f"person {clip.actor}"})
    return folder, rows


def ready(datamodule_class, manifest, **settings):
    sizes = {"num_video_frames": 3, "face_size": 32, "num_folds": 3}
    return tests.datamodules.ready(datamodule_class, manifest=manifest, **sizes | settings)


def people(datamodule):
    return {name: sorted({clip.actor for clip in clips}) for name, clips in datamodule.split.items()}


@pytest.fixture(scope="module")
def manifest(recordings):
    folder, rows = recordings
    return write(folder / "mine.csv", rows)


class TestBatches:
    def test_audio_and_faces_belong_to_the_row(self, manifest, recordings):
        batch = next(iter(ready(PairedDataModule, manifest).test_dataloader()))
        rows = {row["clip"]: row for row in recordings[1]}
        labels = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
        assert [labels[label] for label in batch["label"]] == [rows[clip]["label"] for clip in batch["clip"]]
        for clip, length in zip(batch["clip"], batch["waveform_length"].tolist(), strict=True):
            assert length == pytest.approx(soundfile.info(recordings[0] / rows[clip]["audio"]).frames / 3, abs=1)
        # The height of an emotion's bar, in the middle of the picture, is its number.
        middle = batch["faces"][:, 0, 2].float()[:, :, 8:24].mean(dim=(1, 2))
        assert middle[batch["label"].argsort()].diff().min() > 0

    def test_face_box_sets_the_position_of_the_face(self, manifest):
        left, right = (
            next(iter(ready(VideoDataModule, manifest, face_box=box).test_dataloader()))["faces"].float()
            for box in ((0.0, 0.0, 0.2, 1.0), (0.4, 0.2, 0.6, 0.9))
        )
        assert left.std() < 5 < right.std()  # a uniform wall, and a face in front of it

    def test_unlabelled_pairs_have_label_minus_one(self, recordings):
        folder, rows = recordings
        hidden = {row["clip"] for row in rows if row["label"] in ("calm", "sad")}
        path = write(folder / "hidden.csv", [row | {"label": ""} if row["clip"] in hidden else row for row in rows])
        datamodule = ready(PairedDataModule, path)
        assert datamodule.labels == ("neutral", "happy", "angry", "fearful", "disgust", "surprised")
        assert datamodule.num_classes == 6
        found = {}
        for batch in datamodule.predict_dataloader():
            found |= dict(zip(batch["clip"], batch["label"].tolist(), strict=True))
        assert {clip for clip, label in found.items() if label == -1} == hidden

    def test_segments_of_one_long_recording(self, recordings, tmp_path):
        folder, rows = recordings
        wavs = [soundfile.read(folder / row["audio"], dtype="int16") for row in rows]
        long = np.concatenate([wav for wav, _ in wavs])
        soundfile.write(tmp_path / "long.wav", long, 48_000, subtype="PCM_16")
        ends = np.cumsum([len(wav) for wav, _ in wavs]) / 48_000
        pieces = [
            row | {"audio": "long.wav", "video": "", "start": start, "end": end}
            for row, start, end in zip(rows, [0.0, *ends[:-1]], ends, strict=True)
        ]
        cut = ready(AudioDataModule, write(tmp_path / "pieces.csv", pieces))
        apart = ready(AudioDataModule, write(folder / "apart.csv", rows))
        assert cut.excluded == []
        for ours, theirs in zip(cut.test_dataloader(), apart.test_dataloader(), strict=True):
            assert ours["clip"] == theirs["clip"]
            torch.testing.assert_close(ours["waveform_length"], theirs["waveform_length"])
            inside = slice(40, int(ours["waveform_length"].min()) - 40)
            one, other = (batch["waveform"][..., inside] for batch in (ours, theirs))
            torch.testing.assert_close(one, other, atol=2e-3, rtol=0)


def test_video_files_are_not_needed_with_face_features(recordings, tmp_path):
    folder, rows = recordings
    numbers = {row["clip"]: number for number, row in enumerate(rows)}
    lines = [f"{clip},{number},{-number}" for clip, number in numbers.items()]
    (tmp_path / "faces.csv").write_text("\n".join(["clip,AU01_r,AU02_r", *lines[:-1]]))
    path = write(folder / "audio.csv", [row | {"video": ""} for row in rows])
    datamodule = ready(PairedDataModule, path, face_features=str(tmp_path / "faces.csv"))
    assert datamodule.face_embedding_size == 2
    (aside,) = datamodule.excluded
    assert aside.what == rows[-1]["clip"]
    assert "faces.csv" in aside.reason
    batch = next(iter(datamodule.test_dataloader()))
    assert batch["face_embeddings"][:, 0, 0].tolist() == [numbers[clip] for clip in batch["clip"]]


class TestSplits:
    def test_without_a_split_speakers_form_the_folds(self, manifest):
        tested = []
        for fold in range(3):
            datamodule = ready(AudioDataModule, manifest, fold=fold)
            assert datamodule.protocol == "grouped"
            assert not datamodule.is_speaker_dependent
            assert sorted(who for part in people(datamodule).values() for who in part) == EVERYBODY
            assert datamodule.held_out_actors == {*people(datamodule)["val"], *people(datamodule)["test"]}
            tested += people(datamodule)["test"]
        assert sorted(tested) == EVERYBODY

    def test_folds_do_not_depend_on_the_usable_clips(self, recordings, tiny_videos):
        """Clips without a face and corrupted files do not change the folds."""
        folder, rows = recordings
        faceless = [
            row | {"video": ""} if "01-0" in row["clip"] and row["speaker"] == "person 02" else row for row in rows
        ]
        (folder / "broken.wav").write_bytes(b"no sound")
        faceless[0] = faceless[0] | {"audio": "broken.wav"}
        path = write(folder / "faceless.csv", faceless)
        both = people(ready(AudioDataModule, path, fold=1))
        assert both == people(ready(AudioDataModule, write(folder / "whole.csv", rows), fold=1))
        with pytest.raises(ProtocolError, match="label"):
            ready(PairedDataModule, path, fold=1)

    def given(self, recordings, name, **splits):
        folder, rows = recordings
        return write(folder / name, [row | {"split": splits[row["speaker"][-1]]} for row in rows])

    def test_a_given_split_is_the_only_fold(self, recordings):
        path = self.given(recordings, "given.csv", **{"1": "test", "2": "train", "3": "dev"})
        datamodule = ready(AudioDataModule, path)
        assert datamodule.protocol == "given"
        assert people(datamodule) == {"train": ["person 02"], "val": ["person 03"], "test": ["person 01"]}
        with pytest.raises(ProtocolError, match="given"):
            ready(AudioDataModule, path, fold=1)
        assert ready(AudioDataModule, path, protocol="grouped", fold=1).protocol == "grouped"

    def test_speakers_in_two_splits_are_a_leakage_error(self, recordings):
        folder, rows = recordings
        names = ("train", "val", "test")
        path = write(folder / "leak.csv", [row | {"split": names[number // 3 % 3]} for number, row in enumerate(rows)])
        with pytest.raises(LeakageError, match=r"person 01 \(train, val, test\)"):
            ready(AudioDataModule, path)
        datamodule = ready(AudioDataModule, path, allow_speaker_leakage=True)
        assert datamodule.is_speaker_dependent
        assert datamodule.held_out_actors == set()
        assert not ready(AudioDataModule, path, protocol="grouped").is_speaker_dependent
        clean = self.given(recordings, "clean.csv", **{"1": "test", "2": "train", "3": "val"})
        assert not ready(AudioDataModule, clean, allow_speaker_leakage=True).is_speaker_dependent

    def test_labels_are_removed_from_labelled_speakers(self, recordings):
        folder, rows = recordings

        def again(**change):
            return [row | {"clip": f"{row['clip']} {change}"} | change for row in rows if row["speaker"] == "person 01"]

        more = [row for number in (4, 5, 6) for row in again(speaker=f"person {number:02d}", start=f"0.0{number}")]
        path = write(folder / "more.csv", [*rows, *more, *again(speaker="x", label="", start="0.01")])
        datamodule = ready(AudioDataModule, path, labelled_actors=1)
        first, second, last = people(datamodule)["train"]
        assert last == "x"
        (kept,) = {clip.actor for clip in datamodule.split["train"] if clip.label}
        assert kept in (first, second)
        with pytest.raises(ConfigError, match="labelled_actors"):
            ready(AudioDataModule, path, labelled_actors=3)  # x has no labels


class TestUsableClips:
    def test_a_long_recording_is_excluded(self, recordings):
        folder, rows = recordings
        soundfile.write(folder / "long.wav", np.zeros(16_000 * 3, np.int16), 16_000)
        path = write(folder / "long.csv", [*rows, rows[0] | {"clip": "long", "audio": "long.wav", "video": ""}])
        (aside,) = ready(AudioDataModule, path, max_duration=2.5).excluded
        assert aside.what == "long" and all(part in aside.reason for part in ("3.0 s", "max_duration", "2.5"))
        assert ready(AudioDataModule, path).excluded == []

    def test_undecodable_files_and_bad_rows_are_excluded(self, recordings):
        folder, rows = recordings
        (folder / "broken.wav").write_bytes(b"no sound")
        bad = [rows[0] | {"clip": "broken", "audio": "broken.wav"}, rows[0] | {"clip": "gone", "audio": "gone.wav"}]
        datamodule = ready(AudioDataModule, write(folder / "bad.csv", [*rows, *bad]))
        assert len(datamodule.clips) == 24
        excluded = [aside.what.split("/")[-1] for aside in datamodule.excluded]
        assert excluded == ["bad.csv row 27 (clip gone)", "broken.wav"]

    def test_audio_without_video_is_an_error_for_pairs(self, recordings):
        folder, rows = recordings
        path = write(folder / "voices.csv", [row | {"video": ""} for row in rows])
        assert len(ready(AudioDataModule, path).clips) == 24
        with pytest.raises(CorpusNotFoundError, match=r"(?s)voices\.csv .*no video") as raised:
            ready(PairedDataModule, path)
        assert "24" in str(raised.value)

    def test_manifest_and_ravdess_folder_give_the_same_arrays(self, manifest, recordings):
        ours = ready(AudioDataModule, manifest)
        theirs = AudioDataModule(str(recordings[0] / "media"), protocol="loso24")
        theirs.setup()
        assert {path.stem for path in ours.waveforms.values()} == {path.stem for path in theirs.waveforms.values()}

    def test_synthetic_recordings_in_a_manifest_are_synthetic(self, recordings, tmp_path):
        folder, rows = recordings
        assert ready(AudioDataModule, write(folder / "real.csv", rows)).source.kind == "manifest"
        shutil.copytree(folder / "media", tmp_path / "corpus" / "media")
        (tmp_path / "corpus" / SYNTHETIC_MARKER).write_text("{}")
        listed = [row | {"audio": f"corpus/{row['audio']}", "video": ""} for row in rows]
        assert ready(AudioDataModule, write(tmp_path / "list.csv", listed)).is_synthetic


class TestSettings:
    def test_two_corpora_are_a_config_error(self, manifest):
        with pytest.raises(ConfigError, match=r"data\.root .*data\.manifest"):
            PairedDataModule(root="somewhere", manifest=manifest)

    @pytest.mark.parametrize("settings", [{"channel": "song"}, {"label_set": "speech6"}])
    def test_ravdess_settings_are_a_config_error_for_manifests(self, manifest, settings):
        with pytest.raises(ConfigError, match=r"data\.label_set"):
            AudioDataModule(manifest=manifest, **settings)


class TestMissingClasses:
    @pytest.fixture
    def only_at_person_01(self, recordings):
        folder, rows = recordings
        kept = [row for row in rows if row["label"] != "happy" or row["speaker"] == "person 01"]
        return write(folder / "rare.csv", kept)

    def test_missing_from_training(self, only_at_person_01):
        refused = 0
        for fold in range(3):
            datamodule = ready(AudioDataModule, only_at_person_01, fold=fold)  # `test` needs no training clips
            if people(datamodule)["train"] == ["person 01"]:
                datamodule.setup("fit")
                continue
            with pytest.raises(ProtocolError, match=r"class happy.*--data\.fold"):
                datamodule.setup("fit")
            refused += 1
        assert refused == 2

    def test_teachers_that_leave_out_actors_may_miss_a_class(self, only_at_person_01):
        datamodule = AudioDataModule(manifest=only_at_person_01, num_folds=3)
        datamodule.exclude_actors(["nobody"])
        datamodule.setup("fit")


class TestSameRecording:
    """A recording that is listed under two speakers is refused before training, whatever its file is called."""

    @pytest.mark.parametrize("datamodule", [AudioDataModule, VideoDataModule, PairedDataModule])
    def test_copied_files(self, recordings, datamodule):
        folder, rows = recordings
        copies = {name: f"media/copy{rows[0][name][-4:]}" for name in ("audio", "video")}
        for name, copy in copies.items():
            shutil.copy(folder / rows[0][name], folder / copy)
        path = write(folder / "copied.csv", [*rows, rows[-1] | copies | {"clip": "copy"}])
        with pytest.raises(LeakageError, match=r"copy \(speaker person 03"):
            ready(datamodule, path)

    def test_other_format_and_times_of_the_same_sound(self, recordings):
        folder, rows = recordings
        samples, rate = soundfile.read(folder / rows[0]["audio"], dtype="int16")
        soundfile.write(folder / "same.flac", samples, rate)
        other = rows[-1] | {"clip": "other", "audio": "same.flac", "video": "", "end": f"{len(samples) / rate}"}
        with pytest.raises(LeakageError, match=r"other \(speaker person 03"):
            ready(AudioDataModule, write(folder / "flac.csv", [*rows, other]))

    def test_parts_of_one_file_have_their_own_speakers(self, recordings):
        folder, rows = recordings
        parts = [
            rows[0] | {"clip": f"part {n}", "start": f"0.{n}", "end": f"0.{n + 1}", "speaker": f"person 0{n}"}
            for n in (1, 2, 3)
        ]
        assert len(ready(AudioDataModule, write(folder / "parts.csv", [*rows, *parts])).clips) == len(rows) + 3
