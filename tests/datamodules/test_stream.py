import pytest
import torch

import tests.datamodules
from crossmodal.cli.main import main
from crossmodal.datamodules import AudioDataModule, PairedDataModule, VideoDataModule
from crossmodal.errors import ConfigError, CorpusNotFoundError

SETTINGS = {"protocol": "loso24", "num_video_frames": 3, "face_size": 32, "batch_size": 3}
CLASSES = [AudioDataModule, VideoDataModule, PairedDataModule]


@pytest.fixture(scope="module")
def stream(tiny_videos, tmp_path_factory):
    """Return a stream of recordings written by the command."""
    target = str(tmp_path_factory.mktemp("recorded") / "stream")
    sizes = ["--num_video_frames", "3", "--face_size", "32"]
    assert main(["data", "prepare", str(tiny_videos), *sizes, "--to", "litdata", target]) == 0
    return target


def ready(datamodule_class, **settings):
    return tests.datamodules.ready(datamodule_class, **SETTINGS | settings)


def assert_same(batches, others):
    for one, other in zip(batches, others, strict=True):
        assert one.keys() == other.keys()
        assert one["clip"] == other["clip"]
        for name in one.keys() - {"clip"}:
            assert one[name].dtype == other[name].dtype
            assert torch.equal(one[name], other[name]), name


@pytest.mark.parametrize("datamodule_class", CLASSES)
@pytest.mark.parametrize("settings", [{}, {"fold": 1, "label_set": "speech6", "num_workers": 3, "seed": 5}])
def test_batches_equal_those_without_a_stream(tiny_videos, stream, datamodule_class, settings):
    plain = ready(datamodule_class, root=str(tiny_videos), **settings)
    streamed = ready(datamodule_class, stream=stream, **settings)
    assert streamed.split.keys() == plain.split.keys()
    assert streamed.fingerprint == plain.fingerprint
    for name in ("labels", "protocol", "held_out_actors", "is_speaker_dependent", "is_synthetic", "excluded"):
        assert getattr(streamed, name) == getattr(plain, name), name
    for name in ("train", "val", "test", "predict"):
        loaders = [getattr(one, f"{name}_dataloader")() for one in (streamed, plain)]
        for epoch in range(2 if name == "train" else 1):
            for loader in loaders:
                loader.sampler.set_epoch(epoch)
            assert_same(*loaders)


def test_batches_of_a_remote_stream_are_the_same(stream):
    local, remote = (ready(PairedDataModule, stream=where) for where in (stream, f"local:{stream}"))
    assert_same(local.train_dataloader(), remote.train_dataloader())


def test_face_features_replace_the_pixels_of_a_stream(stream, tiny_face_features):
    datamodule = ready(PairedDataModule, stream=stream, face_features=str(tiny_face_features), face_size=112)
    assert next(iter(datamodule.test_dataloader()))["face_embeddings"].shape[-1] == 6


def test_long_clips_are_excluded(stream):
    with pytest.raises(CorpusNotFoundError, match="max_duration"):
        ready(AudioDataModule, stream=stream, max_duration=0.39)
    assert len(ready(AudioDataModule, stream=stream, max_duration=0.41).clips) == 24


def test_other_face_crops_are_a_config_error(stream):
    with pytest.raises(ConfigError, match="face_size"):
        ready(PairedDataModule, stream=stream, face_size=64)


@pytest.mark.parametrize("other", [{"root": "ravdess"}, {"manifest": "people.csv"}])
def test_a_second_corpus_is_a_config_error(stream, other):
    with pytest.raises(ConfigError, match=r"data\.stream"):
        PairedDataModule(stream=stream, **other)


def test_a_missing_stream_is_an_error(tmp_path):
    with pytest.raises(CorpusNotFoundError, match="stream"):
        PairedDataModule(stream=str(tmp_path / "gone"))
