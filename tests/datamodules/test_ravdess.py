import csv
import shutil

import numpy as np
import pytest
import soundfile
import torch

from crossmodal import AudioDataModule, PairedDataModule, VideoDataModule
from crossmodal.datasets.clip_tensors import ClipTensors
from crossmodal.datasets.ravdess import index_ravdess
from crossmodal.errors import ConfigError, CorpusNotFoundError, DataError, LeakageError
from tests.datamodules import ready

SIZE = {"num_video_frames": 3, "face_size": 32}


def names(datamodule, epoch: int) -> list[list[str]]:
    loader = datamodule.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return [batch["clip"] for batch in loader]


@pytest.fixture(scope="module")
def audio(tiny_ravdess):
    return ready(AudioDataModule, tiny_ravdess)


@pytest.fixture(scope="module")
def teacher_outputs(tiny_ravdess, tmp_path_factory):
    """Return outputs of a teacher trained on actors 03 and 04, which fold 0 (test 01, validation 02) can use."""
    path = tmp_path_factory.mktemp("teacher") / "outputs.safetensors"
    clips = [clip.clip for clip in index_ravdess(tiny_ravdess).clips]
    rng = np.random.default_rng(0)
    tensors = {
        "teacher_embedding": rng.normal(size=(len(clips), 5)).astype(np.float32),
        "teacher_logits": rng.normal(size=(len(clips), 8)).astype(np.float32),
    }
    ClipTensors.save(path, clips, tensors, train_actors=["03", "04"])
    return str(path)


def test_audio_batches(audio):
    batch = next(iter(audio.train_dataloader()))
    assert batch.keys() == {"clip", "label", "waveform", "waveform_length"}
    assert batch["waveform"].shape == (8, 1, int(batch["waveform_length"].max()))
    assert len(set(batch["waveform_length"].tolist())) > 1
    assert all(waveform.abs().max() > 0.1 for waveform in batch["waveform"])
    assert batch["waveform"].abs().max() <= 1
    for clip, label in zip(batch["clip"], batch["label"].tolist(), strict=True):
        assert int(clip.split("-")[1]) == label + 1


def test_video_batches_have_pixels(tiny_videos):
    datamodule = ready(VideoDataModule, tiny_videos, **SIZE)
    batch = next(iter(datamodule.train_dataloader()))
    assert batch.keys() == {"clip", "label", "faces"}
    assert (batch["faces"].dtype, batch["faces"].shape) == (torch.uint8, (8, 3, 3, 32, 32))
    assert datamodule.face_embedding_size is None
    assert batch["faces"].float().std() > 20


def test_face_features_replace_pixels(tiny_ravdess, tiny_face_features):
    settings = {"face_features": str(tiny_face_features)}
    datamodule = ready(VideoDataModule, tiny_ravdess, **settings)
    batch = next(iter(datamodule.test_dataloader()))
    assert batch.keys() == {"clip", "label", "face_embeddings"}
    assert (batch["face_embeddings"].dtype, batch["face_embeddings"].shape) == (torch.float32, (8, 1, 6))
    assert datamodule.face_embedding_size == 6
    with tiny_face_features.open(newline="") as file:
        rows = {row.pop("clip")[3:]: [float(value) for value in row.values()] for row in csv.DictReader(file)}
    expected = torch.tensor([[rows[clip]] for clip in batch["clip"]])
    torch.testing.assert_close(batch["face_embeddings"], expected)
    paired = next(iter(ready(PairedDataModule, tiny_ravdess, **settings).test_dataloader()))
    assert paired.keys() == {"clip", "label", "waveform", "waveform_length", "face_embeddings"}


def test_teacher_outputs_replace_faces_in_the_batch(tiny_ravdess, teacher_outputs):
    datamodule = ready(PairedDataModule, tiny_ravdess, teacher_outputs=teacher_outputs)
    batch = next(iter(datamodule.train_dataloader()))
    assert batch.keys() == {"clip", "label", "waveform", "waveform_length", "teacher_embedding", "teacher_logits"}
    stored = ClipTensors(teacher_outputs)
    for row, clip in enumerate(batch["clip"]):
        np.testing.assert_array_equal(batch["teacher_embedding"][row], stored[clip]["teacher_embedding"])
        np.testing.assert_array_equal(batch["teacher_logits"][row], stored[clip]["teacher_logits"])
    assert batch["teacher_logits"].shape == (8, 8)


def test_splits_are_by_actor_and_complete(audio):
    actors = {name: {clip.actor for clip in clips} for name, clips in audio.split.items()}
    assert actors == {"train": {"03", "04"}, "val": {"02"}, "test": {"01"}}
    assert audio.held_out_actors == {"01", "02"}
    assert len(audio.clips) == 64
    loaders = [getattr(audio, f"{name}_dataloader")() for name in ("train", "val", "test", "predict")]
    assert [sum(len(batch["clip"]) for batch in loader) for loader in loaders] == [32, 16, 16, 64]


def test_labels_are_those_of_the_label_set(audio, tiny_ravdess):
    assert audio.labels[0] == "neutral"
    assert (audio.num_classes, audio.source.label_set) == (8, "speech8")
    six = ready(AudioDataModule, tiny_ravdess, label_set="speech6")
    assert six.num_classes == 6
    assert len(six.clips) == 48
    assert {clip.label for clip in six.clips} == set(six.labels)


def test_the_order_of_an_epoch_is_reproducible_and_epochs_differ(audio, tiny_ravdess):
    again = ready(AudioDataModule, tiny_ravdess)
    assert names(audio, 3) == names(again, 3)
    assert names(audio, 0) != names(audio, 1)
    assert names(audio, 0) != names(ready(AudioDataModule, tiny_ravdess, seed=1), 0)


def test_student_and_control_have_the_same_batches(audio, tiny_ravdess, teacher_outputs):
    paired = ready(PairedDataModule, tiny_ravdess, teacher_outputs=teacher_outputs)
    for epoch in range(2):
        assert names(audio, epoch) == names(paired, epoch)


def test_validation_and_test_keep_their_order_and_their_last_batch(tiny_ravdess):
    datamodule = ready(AudioDataModule, tiny_ravdess, batch_size=7)
    assert [len(batch["clip"]) for batch in datamodule.val_dataloader()] == [7, 7, 2]
    names = [clip for batch in datamodule.val_dataloader() for clip in batch["clip"]]
    assert names == [clip.clip for clip in datamodule.split["val"]]
    assert [len(batch["clip"]) for batch in datamodule.train_dataloader()] == [7] * 4  # 4 of 32 clips are dropped


@pytest.mark.parametrize(("fold", "named"), [(1, "03"), (2, "03, 04"), (3, "04")])
def test_a_teacher_trained_on_a_held_out_actor_is_a_leakage_error(tiny_ravdess, teacher_outputs, fold, named):
    with pytest.raises(LeakageError, match=f"actors {named}"):
        ready(PairedDataModule, tiny_ravdess, fold=fold, teacher_outputs=teacher_outputs)


def test_random_needs_allow_speaker_leakage_and_has_no_held_out_actors(tiny_ravdess, teacher_outputs):
    with pytest.raises(LeakageError, match=r"--data\.allow_speaker_leakage true"):
        ready(AudioDataModule, tiny_ravdess, protocol="random")
    settings = {"protocol": "random", "allow_speaker_leakage": True, "teacher_outputs": teacher_outputs}
    datamodule = ready(PairedDataModule, tiny_ravdess, **settings)
    assert datamodule.held_out_actors == set()
    assert len(datamodule.clips) == 64


def test_a_clip_without_partner_is_excluded(tiny_videos, tmp_path):
    root = shutil.copytree(tiny_videos, tmp_path / "corpus")
    (root / "Actor_01" / "01-01-03-01-01-01-01.mp4").unlink()
    silent = root / "Actor_02" / "03-01-04-01-01-01-02.wav"
    silent.unlink()
    (root / "Actor_02" / "01-01-04-01-01-01-02.mp4").rename(silent.with_name("02-01-04-01-01-01-02.mp4"))
    datamodule = ready(PairedDataModule, root, **SIZE)
    assert len(datamodule.clips) == 22
    assert {aside.what: aside.reason for aside in datamodule.excluded} == {
        "01-03-01-01-01-01": "not paired: this sound has no video",
        "01-04-01-01-01-02": "not paired: this face has no sound",
    }
    assert len(ready(VideoDataModule, root, **SIZE).clips) == 23
    assert len(ready(AudioDataModule, root).clips) == 23


def test_a_clip_missing_in_the_table_is_excluded(tiny_ravdess, tiny_face_features, tmp_path):
    header, first, *rest = tiny_face_features.read_text().splitlines()
    table = tmp_path / "short.csv"
    table.write_text("\n".join([header, *rest]))
    datamodule = ready(PairedDataModule, tiny_ravdess, face_features=str(table))
    (aside,) = datamodule.excluded
    assert aside.what == first.split(",")[0][3:]
    assert "short.csv" in aside.reason
    assert len(datamodule.clips) == 63


def test_no_usable_clips_is_an_error_with_reasons(tmp_path):
    for actor in ("01", "02", "03"):
        (tmp_path / f"03-01-03-01-01-01-{actor}.wav").write_bytes(b"")
    with pytest.raises(CorpusNotFoundError, match=r"3 (.|\n)*empty"):
        ready(AudioDataModule, tmp_path)


def test_equal_settings_have_equal_fingerprints_in_any_folder(audio, tiny_ravdess, tmp_path):
    moved = shutil.copytree(tiny_ravdess, tmp_path / "moved")
    assert ready(AudioDataModule, moved, num_workers=2).fingerprint == audio.fingerprint


@pytest.mark.parametrize("changed", [{"fold": 1}, {"label_set": "speech6"}, {"batch_size": 4}])
def test_the_fingerprint_depends_on_the_settings(audio, tiny_ravdess, changed):
    assert ready(AudioDataModule, tiny_ravdess, **changed).fingerprint != audio.fingerprint


def test_the_fingerprint_depends_on_the_files(audio, tiny_ravdess, tmp_path):
    root = shutil.copytree(tiny_ravdess, tmp_path / "changed")
    path = next(root.rglob("*.wav"))
    samples, sample_rate = soundfile.read(path)
    soundfile.write(path, 0.5 * samples, sample_rate)
    assert ready(AudioDataModule, root).fingerprint != audio.fingerprint


def test_the_fingerprint_depends_on_the_features(tiny_ravdess, tiny_face_features, tmp_path):
    settings = {"face_features": str(tiny_face_features)}
    before = ready(VideoDataModule, tiny_ravdess, **settings).fingerprint
    assert ready(VideoDataModule, tiny_ravdess, **settings).fingerprint == before
    header, first, *rest = tiny_face_features.read_text().splitlines()
    table = tmp_path / "face_features.csv"
    table.write_text("\n".join([header, f"{first.rpartition(',')[0]},99", *rest]))
    assert ready(VideoDataModule, tiny_ravdess, face_features=str(table)).fingerprint != before


@pytest.mark.parametrize(
    ("datamodule_class", "settings", "error", "message"),
    [
        (VideoDataModule, {"face_features": "a.csv", "face_embeddings": "b"}, ConfigError, "face_features or face_emb"),
        (VideoDataModule, {"face_features": "nowhere.csv"}, DataError, r"nowhere\.csv"),
        (AudioDataModule, {"label_set": "song6"}, ConfigError, "'song6'"),
        (AudioDataModule, {"labelled_actors": 0}, ConfigError, "labelled_actors"),
        (AudioDataModule, {"labelled_actors": 3}, ConfigError, "labelled_actors"),  # more than train
        (AudioDataModule, {"labelled_actors": ["99"]}, ConfigError, "99"),
        (AudioDataModule, {"labelled_actors": []}, ConfigError, "labelled_actors"),
    ],
    ids=str,
)
def test_invalid_settings_are_errors(tiny_ravdess, datamodule_class, settings, error, message):
    with pytest.raises(error, match=message):
        ready(datamodule_class, tiny_ravdess, **settings)


def test_a_corpus_with_the_marker_is_synthetic(tiny_ravdess, tmp_path):
    assert not AudioDataModule(str(tiny_ravdess)).is_synthetic
    assert AudioDataModule().is_synthetic
    (tmp_path / "synthetic.json").write_text("{}")
    assert AudioDataModule(str(tmp_path)).is_synthetic


def test_only_some_training_actors_keep_their_labels(tiny_ravdess):
    whole, one = (ready(AudioDataModule, tiny_ravdess, labelled_actors=number) for number in (None, 1))
    assert [clip.clip for clip in one.clips] == [clip.clip for clip in whole.clips]
    (kept,) = {clip.actor for clip in one.split["train"] if clip.label}
    for clip in one.clips:
        assert (clip.label is None) == (clip in one.split["train"] and clip.actor != kept)
    assert one.fingerprint != whole.fingerprint
    named = ready(AudioDataModule, tiny_ravdess, labelled_actors=[int(kept)], seed=5)
    assert named.split == one.split


def test_the_draw_of_labelled_actors_depends_on_the_seed_alone(tiny_ravdess, tiny_face_features):
    def kept(module, **settings):
        data = ready(module, tiny_ravdess, labelled_actors=1, **settings)
        return {clip.actor for clip in data.split["train"] if clip.label}

    draws = [kept(AudioDataModule, seed=seed) for seed in range(8)]
    assert len({*map(frozenset, draws)}) == 2  # both training actors are drawn
    assert draws[3] == kept(VideoDataModule, seed=3, face_features=str(tiny_face_features), batch_size=7)


def test_an_excluded_actor_is_removed_from_training_only(tiny_ravdess):
    whole = ready(AudioDataModule, tiny_ravdess, labelled_actors=1)
    first = min(clip.actor for clip in whole.split["train"])
    part = AudioDataModule(str(tiny_ravdess), protocol="loso24", labelled_actors=1, cache=whole.cache)
    part.exclude_actors({first})
    part.setup()
    assert part.split["train"] == [clip for clip in whole.split["train"] if clip.actor != first]
    assert (part.split["val"], part.split["test"]) == (whole.split["val"], whole.split["test"])


def test_face_features_can_be_centred_by_actor(tiny_ravdess, tiny_face_features):
    features = {"face_features": str(tiny_face_features), "batch_size": 64}
    plain = ready(VideoDataModule, tiny_ravdess, **features)
    centred = ready(VideoDataModule, tiny_ravdess, face_normalization="actor", **features)
    for datamodule, is_zero in ((plain, False), (centred, True)):
        (batch,) = datamodule.loader([clip for clip in datamodule.clips if clip.actor == "02"])
        assert torch.allclose(batch["face_embeddings"].mean(dim=(0, 1)), torch.tensor(0.0), atol=1e-5) == is_zero
    assert centred.fingerprint["tensors"] != plain.fingerprint["tensors"]
