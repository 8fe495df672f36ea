"""Features of students, stored for each clip and speed before training."""

import shutil

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from crossmodal.datamodules import AudioDataModule
from crossmodal.datasets.stored_array import read_array
from crossmodal.errors import NotFiniteError
from crossmodal.pipeline.stored import speech_features
from crossmodal.pipeline.stored.speech_features import store_for_training
from crossmodal.tasks import ControlTask
from crossmodal.transforms import SpeedPerturbation, length_mask, pad_features
from tests.datamodules import ready
from tests.pipeline import fit

SPEED = {"speed": {"factors": [0.8, 1.25]}}
ENCODERS = {"dense": {"hidden_size": 8, "dropout": 0.0}, "tdnn": {"hidden_size": 8, "dropout": 0.0}}


@pytest.fixture
def datamodule(tiny_ravdess, finished, tmp_path):
    return ready(AudioDataModule, tiny_ravdess, cache=str(tmp_path))


def student(encoder="dense", **kwargs):
    torch.manual_seed(0)
    return ControlTask(encoder=encoder, encoder_kwargs=ENCODERS[encoder], dropout=0.0, **kwargs)


def use_stored(task, datamodule):
    task.fit_normalization(datamodule.loader(datamodule.split["train"]))
    folders, datamodule.summaries = store_for_training(task, datamodule)
    if folders:
        datamodule.speech_features, *datamodule.feature_versions = folders
    return folders, datamodule.summaries


def at_drawn_speeds(task, batch):
    """Return the features of each clip at the speed that `embed` draws with the same random numbers."""
    clips = []
    speeds = task.augmentation.waveform[0].draw(len(batch["label"]))
    for waveform, length, speed in zip(batch["waveform"], batch["waveform_length"], speeds, strict=True):
        played = task.augmentation.waveform[0].play(waveform[None, :, :length], length[None], speed)
        features, frames = task.model.extract_features(*played)
        clips.append(features[0, :, :frames])
    return pad_features(clips)


@pytest.mark.parametrize("encoder, summarizes", [("dense", True), ("tdnn", False)])
def test_stored_features_are_those_of_the_front_end_at_the_drawn_speeds(datamodule, encoder, summarizes):
    task = student(encoder, augmentation=SPEED)
    plain, held_out = (next(iter(datamodule.loader(datamodule.split[name], shuffle=True))) for name in ("train", "val"))
    folders, summaries = use_stored(task, datamodule)
    assert (summaries is not None, len(folders)) == ((True, 0) if summarizes else (False, 3))
    stored = next(iter(datamodule.loader(datamodule.split["train"], shuffle=True)))
    assert stored["clip"] == plain["clip"] and "waveform" not in stored
    torch.manual_seed(1)
    expected = task.model.encode(*at_drawn_speeds(task.train(), plain))
    torch.manual_seed(1)
    torch.testing.assert_close(task.embed(stored), expected, atol=1e-4, rtol=1e-4)
    stored = next(iter(datamodule.loader([clip for clip in datamodule.clips if clip.clip in held_out["clip"]])))
    order = [held_out["clip"].index(clip) for clip in stored["clip"]]
    expected = task.eval().embed(held_out)[order]
    torch.testing.assert_close(task.embed(stored), expected, atol=1e-4, rtol=1e-4)


def test_clips_are_computed_once_for_all_students(tiny_args, decoded, monkeypatch):
    calls, at_speed = [], speech_features._at_speed
    monkeypatch.setattr(speech_features, "_at_speed", lambda *a, **k: calls.append(k) or at_speed(*a, **k))
    shutil.rmtree(decoded / "cache" / "speech_features")
    fit(tiny_args(decoded))
    assert len(calls) == 32 * 3 + 32  # training clips at three speeds, the others at one
    fit(tiny_args(decoded, "--transfer.model.lr=1e-3", "--name=other"))
    assert len(calls) == 32 * 3 + 32
    fit(tiny_args(decoded, "--transfer.model.front_end_kwargs.n_mfcc=12", "--stages=control"))
    assert len(calls) == 2 * (32 * 3 + 32)


@pytest.mark.parametrize(
    "kwargs, max_bytes", [({"augmentation": {"noise": None}}, 2**40), ({"augmentation": SPEED}, 1000)]
)
def test_other_augmentation_and_large_corpora_are_computed_in_each_step(datamodule, monkeypatch, kwargs, max_bytes):
    monkeypatch.setattr(speech_features, "MAX_BYTES", max_bytes)
    assert use_stored(student("tdnn", **kwargs), datamodule) == ([], None)


def test_another_normalization_gives_other_summaries(datamodule):
    task = student()
    _, first = use_stored(task, datamodule)
    task.model.normalization.mean += 3
    _, second = store_for_training(task, datamodule)
    assert first != second


def test_a_non_finite_summary_is_reported_with_its_clip(datamodule):
    task = student()
    use_stored(task, datamodule)
    batch = next(iter(datamodule.loader(datamodule.split["train"], shuffle=True)))
    batch["summary"][2] = torch.nan
    with pytest.raises(NotFiniteError, match=batch["clip"][2]):
        task.training_step(batch, 0)


class Projection(nn.Module):
    """Front end with random filters, which are trained or not."""

    num_features = 4

    def __init__(self, trained=False):
        super().__init__()
        self.filters = nn.Parameter(torch.randn(4, 1, 400), requires_grad=trained)

    def forward(self, waveform, length):
        return F.conv1d(waveform, self.filters, stride=400).abs(), length // 400


class Largest(nn.Module):
    def __init__(self, num_features):
        super().__init__()
        self.out_features = num_features
        self.register_buffer("scale", torch.rand(num_features))

    def forward(self, features, length):
        mask = length_mask(length, features.shape[-1])
        return self.scale * features.masked_fill(~mask[:, None], -torch.inf).amax(-1)


def test_the_key_of_features_includes_the_tensors_of_an_own_front_end(datamodule):
    def folder_of(seed):
        torch.manual_seed(seed)
        task = ControlTask(Projection, encoder="tdnn", encoder_kwargs=ENCODERS["tdnn"])
        ((folder,), _) = store_for_training(task, datamodule)
        clip = datamodule.clips[0].clip
        expected = task.model.run_front_end(
            torch.tensor(datamodule.source.read(datamodule.waveforms[clip])).view(1, 1, -1)
        )
        torch.testing.assert_close(torch.tensor(read_array(folder / datamodule.waveforms[clip].name)), expected[0][0])
        return folder

    assert folder_of(0) == folder_of(0) != folder_of(1)


def test_features_of_a_trained_front_end_are_not_stored(datamodule):
    for kwargs in (ENCODERS["dense"], ENCODERS["dense"] | {"pooling": "mean"}):
        task = ControlTask(Projection, front_end_kwargs={"trained": True}, encoder="dense", encoder_kwargs=kwargs)
        assert store_for_training(task, datamodule) == ([], None)


def test_the_key_of_summaries_includes_an_own_pooling(datamodule):
    def file_of(seed):
        datamodule.summaries = None
        torch.manual_seed(seed)
        task = ControlTask(encoder="dense", encoder_kwargs=ENCODERS["dense"] | {"pooling": Largest})
        return use_stored(task, datamodule)[1]

    assert file_of(0) == file_of(0) != file_of(1)


def test_a_subclass_of_an_augmentation_is_not_taken_for_it(datamodule):
    class Own(SpeedPerturbation):
        pass

    assert student("tdnn", augmentation={"speed": {"factors": [0.8]}}).stored_speeds == (1.0, 0.8)
    assert student("tdnn", augmentation={"own": Own(factors=[0.8])}).stored_speeds == ()
