import numpy as np
import pytest
import torch
from lightning.pytorch import seed_everything

from crossmodal.datamodules import RAVDESSPairedDataModule, RAVDESSVideoDataModule
from crossmodal.datasets.clip_tensors import ClipTensors
from crossmodal.errors import DataError, LeakageError, WeightsError
from crossmodal.models import FaceBackbone, FaceClassifier
from crossmodal.models.handover import load_model
from crossmodal.pipeline import fit


def stored(folder, kind):
    return sorted((folder / "cache" / kind).glob("*.safetensors"))


class TestFaceFeatures:
    def test_teacher_outputs_are_what_the_stored_teacher_says(self, finished, tiny_face_features, tiny_ravdess):
        (path,) = (finished.cache / "teacher_outputs").iterdir()
        outputs = ClipTensors(path)
        teacher, about = load_model(FaceClassifier, finished.folder / "teacher" / "model.safetensors")
        assert outputs.about["train_actors"] == about["train_actors"] == ["03", "04"]
        datamodule = RAVDESSVideoDataModule(
            str(tiny_ravdess),
            protocol="loso24",
            face_features=str(tiny_face_features),
            cache=str(finished.cache),
        )
        datamodule.setup()
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
        datamodule = RAVDESSPairedDataModule(
            str(tiny_ravdess),
            protocol="loso24",
            fold=fold,
            teacher_outputs=str(path),
            cache=str(finished.cache),
        )
        with pytest.raises(
            LeakageError, match=f"The teacher was trained on actors {actors}, who are validation or test"
        ):
            datamodule.setup()

    def test_teacher_outputs_that_are_none_are_named(self, finished, tiny_ravdess, tmp_path):
        (tmp_path / "said.safetensors").write_bytes(b"nothing")
        datamodule = RAVDESSPairedDataModule(
            str(tiny_ravdess),
            protocol="loso24",
            teacher_outputs=str(tmp_path / "said.safetensors"),
            cache=str(finished.cache),
        )
        with pytest.raises(DataError, match=r"said\.safetensors is not a file of tensors by clip"):
            datamodule.setup()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One cache for the file: the videos are decoded once."""
    return tmp_path_factory.mktemp("pixels")


@pytest.fixture(scope="module")
def args(tiny_videos, folder):
    return lambda *more: [
        f"--data.root={tiny_videos}",
        f"--data.cache={folder / 'cache'}",
        f"--runs={folder / 'runs'}",
        "--data.protocol=loso24",
        "--data.face_size=32",
        "--data.num_video_frames=2",
        "--teacher.model.backbone=test_resnet",
        "--teacher.model.pretrained=false",
        "--teacher.trainer.max_epochs=1",
        "--trainer.enable_progress_bar=false",
        *more,
    ]


class TestPixels:
    def test_a_frozen_backbone_looks_at_each_clip_once(self, args, folder, tiny_videos, monkeypatch):
        first = fit(args("--stages=teacher"))
        (path,) = stored(folder, "face_embeddings")
        embeddings = ClipTensors(path)
        seed_everything(0, verbose=False)
        backbone = FaceBackbone("test_resnet", pretrained=False).eval()
        assert len(embeddings.clips) == 24
        assert embeddings.shapes == {"face_embeddings": (2, backbone.num_features)}

        pixels = RAVDESSVideoDataModule(
            str(tiny_videos),
            protocol="loso24",
            face_size=32,
            num_video_frames=2,
            cache=str(folder / "cache"),
        )
        pixels.setup()
        (batch,) = pixels.loader(pixels.split["test"])
        assert batch["faces"].shape == (8, 2, 3, 32, 32)
        expected = backbone(batch["faces"])
        for row, clip in enumerate(batch["clip"]):
            np.testing.assert_allclose(embeddings[clip]["face_embeddings"], expected[row], atol=1e-4)

        monkeypatch.setattr(FaceBackbone, "forward", lambda *_: pytest.fail("the frozen backbone ran again"))
        again = fit(args("--stages=teacher", "--teacher.model.lr=1e-4", "--teacher.trainer.max_epochs=2"))
        assert not again["stages"]["teacher"]["reused"]
        assert again["stages"]["teacher"]["epochs"] == 2
        assert stored(folder, "face_embeddings") == [path]
        assert first["corpus"]["faces"] == "pixels"
        assert first["corpus"]["clips"] == {"train": 8, "val": 8, "test": 8}

    @pytest.mark.parametrize(
        "change",
        ["--teacher.model.backbone=test_vit", "--seed_everything=1", "--teacher.model.backbone_kwargs.size=48"],
    )
    def test_another_backbone_is_asked_anew(self, args, folder, change):
        fit(args("--stages=teacher"))
        before = stored(folder, "face_embeddings")
        fit(args("--stages=teacher", change))
        assert len(stored(folder, "face_embeddings")) == len(before) + 1

    def test_a_backbone_that_is_trained_reads_pixels_and_teaches_by_stored_outputs(self, args, folder):
        fit(args("--stages=teacher"))
        before = stored(folder, "face_embeddings")
        summary = fit(
            args(
                "--stages=teacher,transfer",
                "--teacher.model.freeze_backbone=false",
                "--transfer.model.encoder=dense",
                "--transfer.trainer.max_epochs=1",
            )
        )
        assert list(summary["stages"]) == ["teacher", "transfer"]
        assert stored(folder, "face_embeddings") == before
        (path,) = stored(folder, "teacher_outputs")
        assert ClipTensors(path).shapes == {"teacher_embedding": (128,), "teacher_logits": (8,)}
        assert ClipTensors(path).about["train_actors"] == ["03"]
        teacher, _ = load_model(FaceClassifier, folder / "runs" / "fit" / "teacher" / "model.safetensors")
        assert teacher.encoder.backbone is not None
        assert not teacher.normalization.fitted

    @pytest.mark.parametrize("frozen", ["true", "false"])
    def test_pretrained_weights_that_cannot_be_fetched(self, args, tmp_path, monkeypatch, frozen):
        import huggingface_hub.utils
        from huggingface_hub import constants

        def no_network(*args, **kwargs):
            raise OSError("no route to host")

        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))  # where nothing was downloaded before
        monkeypatch.setattr(huggingface_hub.utils, "get_session", no_network)
        change = ["--teacher.model.pretrained=true", f"--teacher.model.freeze_backbone={frozen}"]
        with pytest.raises(
            WeightsError, match=r"weights of 'test_resnet' cannot be had.*weights=FILE.*pretrained=False"
        ):
            fit(args("--stages=teacher", *change))
