import shutil

import numpy as np
import pytest
import torch
from lightning.pytorch import seed_everything

from crossmodal.datamodules import PairedDataModule, VideoDataModule
from crossmodal.datasets.clip_tensors import ClipTensors
from crossmodal.errors import ConfigError, LeakageError, WeightsError
from crossmodal.models import AudioClassifier, FaceBackbone, FaceClassifier
from crossmodal.models.serialization import load_model
from crossmodal.storage import content_key
from tests.datamodules import ready
from tests.pipeline import fit, tiny_command


def stored(folder, kind):
    return sorted((folder / "cache" / kind).glob("*.safetensors"))


class TestFaceFeatures:
    def test_teacher_outputs_are_those_of_the_stored_teacher(self, finished, tiny_face_features, tiny_ravdess):
        (path,) = (finished.cache / "teacher_outputs").iterdir()
        outputs = ClipTensors(path)
        teacher, metadata = load_model(FaceClassifier, finished.folder / "teacher" / "model.safetensors")
        assert outputs.about["train_actors"] == metadata["train_actors"] == ["03", "04"]
        faces = {"face_features": str(tiny_face_features), "cache": str(finished.cache)}
        datamodule = ready(VideoDataModule, tiny_ravdess, **faces)
        (batch,) = datamodule.loader(datamodule.split["test"][:3])
        with torch.no_grad():
            embedding = teacher.embed(batch["face_embeddings"])
            logits = teacher.classify(embedding)
        for row, clip in enumerate(batch["clip"]):
            np.testing.assert_allclose(outputs[clip]["teacher_embedding"], embedding[row], atol=1e-5)
            np.testing.assert_allclose(outputs[clip]["teacher_logits"], logits[row], atol=1e-5)

    @pytest.mark.parametrize("fold, actors", [(1, "03"), (2, "03, 04")])
    def test_a_teacher_of_another_fold_is_refused(self, finished, tiny_ravdess, fold, actors):
        (path,) = (finished.cache / "teacher_outputs").iterdir()  # trained on 03 and 04
        settings = {"protocol": "loso24", "fold": fold, "teacher_outputs": str(path), "cache": str(finished.cache)}
        with pytest.raises(LeakageError, match=f"actors {actors}"):
            PairedDataModule(str(tiny_ravdess), **settings).setup()


def test_damaged_files_are_rebuilt(store, tiny_args):
    whole = {path: path.read_bytes() for kind in ("face_features", "teacher_outputs") for path in stored(store, kind)}
    assert len(whole) == 2
    for path, content in whole.items():
        damaged = bytearray(content)
        damaged[-3] ^= 1  # a number, not the header
        path.write_bytes(damaged)
    summary = fit(tiny_args(store))
    assert {path: path.read_bytes() for path in whole} == whole
    assert all(numbers["reused"] for numbers in summary["stages"].values())


def newest_outputs(cache):
    """Return the newest file of teacher outputs."""
    path = max((cache / "teacher_outputs").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    return ClipTensors(path)


def predict(folder, tiny_ravdess, tiny_face_features, cache):
    """Return the logits of a teacher by clip, and the actors it was trained on."""
    trained, metadata = load_model(FaceClassifier, folder / "model.safetensors")
    faces = {"face_features": str(tiny_face_features), "cache": str(cache)}
    (batch,) = ready(VideoDataModule, tiny_ravdess, batch_size=64, **faces).predict_dataloader()
    with torch.no_grad():
        logits = trained(batch["face_embeddings"]).numpy()
    return dict(zip(batch["clip"], logits, strict=True)), metadata["train_actors"]


class TestTeaching:
    """Tests of the section `teaching`; the training actors 03 and 04 are one group each."""

    def test_cross_fitted_outputs_are_from_a_teacher_not_trained_on_the_actor(
        self, store, tiny_args, tiny_ravdess, tiny_face_features
    ):
        fit(tiny_args(store, "--teaching.cross_fit=2", "--stages=teacher,transfer"))
        outputs = newest_outputs(store / "cache")
        teachers = {}
        for actor in ("03", "04"):
            folder = store / "runs" / "fit" / "teachers" / f"teacher_{content_key(left_out=[actor])[:8]}"
            teachers[actor] = predict(folder, tiny_ravdess, tiny_face_features, store / "cache")
            assert actor not in teachers[actor][1]
        assert outputs.about["train_actors"] == ["03", "04"]
        for clip in outputs.clips:
            actor = clip[-2:]
            if actor in teachers:
                expected = teachers[actor][0][clip]
            else:  # a held-out actor: the mean of all
                expected = (teachers["03"][0][clip] + teachers["04"][0][clip]) / 2
            np.testing.assert_allclose(outputs[clip]["teacher_logits"], expected, atol=1e-5)

    def test_a_voice_teacher_needs_no_face_and_is_not_the_control(self, store, tiny_args):
        fit(tiny_args(store, "--teaching.by=voice", "--stages=control,transfer,finetune"))
        run = store / "runs" / "fit"
        assert not (run / "teacher").exists()
        voice, metadata = load_model(AudioClassifier, run / "teachers" / "supervised" / "model.safetensors")
        for stage in ("supervised", "control"):
            control, _ = load_model(AudioClassifier, run / stage / "model.safetensors")
            assert not torch.equal(voice.head[1].weight, control.head[1].weight)
        assert metadata["train_actors"] == ["03", "04"]
        assert newest_outputs(store / "cache").shapes == {"teacher_embedding": (128,), "teacher_logits": (8,)}

    def test_both_teachers_are_summed_and_concatenated(self, store, tiny_args):
        outputs = {}
        for by in ("face", "voice", "both"):
            fit(tiny_args(store, f"--teaching.by={by}", "--stages=teacher,transfer"))
            outputs[by] = newest_outputs(store / "cache")
        for clip in outputs["face"].clips[:3]:
            face, voice, both = (outputs[by][clip] for by in ("face", "voice", "both"))
            np.testing.assert_allclose(
                both["teacher_logits"], face["teacher_logits"] + voice["teacher_logits"], atol=1e-5
            )
            np.testing.assert_array_equal(
                both["teacher_embedding"], np.concatenate([face["teacher_embedding"], voice["teacher_embedding"]])
            )

    def test_outputs_are_shuffled_within_actor_and_emotion(self, store, tiny_args, finished):
        fit(tiny_args(store, "--teaching.shuffle=true", "--stages=teacher,transfer"))
        (plain,) = (finished.cache / "teacher_outputs").iterdir()
        own, shuffled = ClipTensors(plain), newest_outputs(store / "cache")

        def groups(outputs):
            rows = {}
            for clip in outputs.clips:  # channel-emotion-intensity-statement-repetition-actor
                rows.setdefault((clip[3:5], clip[-2:]), []).append(tuple(outputs[clip]["teacher_logits"].tolist()))
            return rows

        before, after = groups(own), groups(shuffled)
        assert {group: sorted(rows) for group, rows in before.items()} == {g: sorted(r) for g, r in after.items()}
        assert before != after

    def test_calibrated_outputs_have_the_temperature_that_fits_validation(self, store, tiny_args, finished):
        fit(tiny_args(store, "--teaching.calibrate=true", "--stages=teacher,transfer"))
        (plain,) = (finished.cache / "teacher_outputs").iterdir()
        raw, calibrated = ClipTensors(plain), newest_outputs(store / "cache")
        ratio = {
            tuple(np.round(raw[clip]["teacher_logits"] / calibrated[clip]["teacher_logits"], 3)) for clip in raw.clips
        }
        assert len({value for row in ratio for value in row}) == 1
        assert ratio != {(1.0,) * 8}

    @pytest.mark.parametrize(
        "wrong, message",
        [
            ("--teaching.cross_fit=1", r"teaching\.cross_fit"),
            ("--teaching.cross_fit=3", "only 2"),
        ],
    )
    def test_an_invalid_setting_is_named(self, store, tiny_args, wrong, message):
        with pytest.raises(ConfigError, match=message):
            fit(tiny_args(store, wrong))


@pytest.fixture(scope="module")
def decoded_videos(tiny_videos, tmp_path_factory):
    """A cache with the decoded sounds and faces of the tiny videos."""
    cache = tmp_path_factory.mktemp("pixels") / "cache"
    PairedDataModule(
        str(tiny_videos), protocol="loso24", face_size=32, num_video_frames=2, cache=str(cache)
    ).prepare_data()
    return cache


@pytest.fixture
def folder(decoded_videos, tmp_path):
    """A folder with a cache that holds no results of other tests."""
    shutil.copytree(decoded_videos, tmp_path / "cache")
    return tmp_path


@pytest.fixture
def args(tiny_videos, folder):
    corpus = (f"--data.root={tiny_videos}", "--data.face_size=32", "--data.num_video_frames=2")
    backbone = ("--teacher.model.backbone=test_resnet", "--teacher.model.pretrained=false")
    return lambda *more: tiny_command(folder, *corpus, *backbone, *more)


class TestPixels:
    def test_a_frozen_backbone_processes_each_clip_once(self, args, tiny_videos, tmp_path, monkeypatch):
        cache = f"--data.cache={tmp_path / 'cache'}"  # the shared one may have other embeddings
        first = fit(args("--stages=teacher", cache))
        (path,) = stored(tmp_path, "face_embeddings")
        embeddings = ClipTensors(path)
        seed_everything(0, verbose=False)
        backbone = FaceBackbone("test_resnet", pretrained=False).eval()
        assert len(embeddings.clips) == 24
        assert embeddings.shapes == {"face_embeddings": (2, backbone.num_features)}

        sizes = {"face_size": 32, "num_video_frames": 2}
        pixels = ready(VideoDataModule, tiny_videos, cache=str(tmp_path / "cache"), **sizes)
        (batch,) = pixels.loader(pixels.split["test"])
        assert batch["faces"].shape == (8, 2, 3, 32, 32)
        expected = backbone(batch["faces"])
        for row, clip in enumerate(batch["clip"]):
            np.testing.assert_allclose(embeddings[clip]["face_embeddings"], expected[row], atol=1e-4)

        monkeypatch.setattr(FaceBackbone, "forward", lambda *_: pytest.fail("the frozen backbone ran again"))
        again = fit(args("--stages=teacher", "--teacher.model.lr=1e-4", "--teacher.trainer.max_epochs=2", cache))
        assert not again["stages"]["teacher"]["reused"]
        assert again["stages"]["teacher"]["epochs"] == 2
        assert stored(tmp_path, "face_embeddings") == [path]
        assert first["corpus"]["faces"] == "pixels"
        assert first["corpus"]["clips"] == {"train": 8, "val": 8, "test": 8}

    @pytest.mark.parametrize(
        "change",
        ["--teacher.model.backbone=test_vit", "--seed_everything=1", "--teacher.model.backbone_kwargs.size=48"],
    )
    def test_another_backbone_computes_new_embeddings(self, args, folder, change):
        fit(args("--stages=teacher"))
        assert len(stored(folder, "face_embeddings")) == 1
        fit(args("--stages=teacher", change))
        assert len(stored(folder, "face_embeddings")) == 2

    def test_a_trained_backbone_reads_pixels_and_stores_outputs(self, args, folder):
        summary = fit(args("--stages=teacher,transfer", "--teacher.model.freeze_backbone=false"))
        assert list(summary["stages"]) == ["teacher", "transfer"]
        assert stored(folder, "face_embeddings") == []
        path = newest_outputs(folder / "cache").path
        assert ClipTensors(path).shapes == {"teacher_embedding": (128,), "teacher_logits": (8,)}
        assert ClipTensors(path).about["train_actors"] == ["03"]
        teacher, _ = load_model(FaceClassifier, folder / "runs" / "fit" / "teacher" / "model.safetensors")
        assert teacher.encoder.backbone is not None
        assert not teacher.normalization.fitted

    @pytest.mark.parametrize("frozen", ["true", "false"])
    def test_unavailable_pretrained_weights_are_an_error(self, args, tmp_path, monkeypatch, frozen):
        import huggingface_hub.utils
        from huggingface_hub import constants

        def no_network(*args, **kwargs):
            raise OSError("no route to host")

        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))  # an empty cache
        monkeypatch.setattr(huggingface_hub.utils, "get_session", no_network)
        change = ["--teacher.model.pretrained=true", f"--teacher.model.freeze_backbone={frozen}"]
        with pytest.raises(WeightsError, match=r"test_resnet.*weights=FILE.*pretrained=False"):
            fit(args("--stages=teacher", *change))
