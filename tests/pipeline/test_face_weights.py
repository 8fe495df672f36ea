"""The shipped config ``face_weights``: a frozen teacher on faces of 224 pixels, with weights from a file."""

import itertools

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from crossmodal.datamodules import VideoDataModule
from crossmodal.datasets.clip_tensors import ClipTensors
from crossmodal.datasets.synthetic import corpus as synthetic
from crossmodal.datasets.synthetic.performance import Performance
from tests.datamodules import ready
from tests.pipeline import fit, read_rows, tiny_command


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """A synthetic corpus of three actors with one clip of each emotion."""
    performances = [
        Performance(1, emotion, 1, 1, 1, actor) for actor, emotion in itertools.product((1, 2, 3), range(1, 9))
    ]
    monkeypatch.setattr(synthetic, "list_performances", lambda actors, channel, repetitions: performances)
    return synthetic.synthesize(tmp_path / "corpus", actors=3, resolution=(320, 180), num_processes=1)


@pytest.fixture
def network():
    """A small network with weights in half precision, but computing in single precision."""
    torch.manual_seed(0)
    network = timm.create_model("test_efficientnet", num_classes=0, pad_type="same")
    return network.half().float().eval()


@pytest.mark.slow
def test_a_frozen_teacher_with_weights_from_a_file_trains_on_faces_of_224_pixels(drawn, network, tmp_path):
    tensors = {key: value.half() for key, value in network.state_dict().items() if "num_batches" not in key}
    save_file(tensors, tmp_path / "faces.safetensors")
    backbone = (
        "--teacher.model.backbone=test_efficientnet",
        f"--teacher.model.weights={tmp_path / 'faces.safetensors'}",
    )
    command = tiny_command(tmp_path, "--config=face_weights", *backbone, f"--data.root={drawn}")
    summary = fit([*command, "--data.num_video_frames=2", "--teacher.trainer.max_epochs=8"])
    assert list(summary["stages"]) == ["teacher", "supervised", "control", "transfer", "finetune"]
    epochs = read_rows(tmp_path / "runs" / "fit" / "teacher" / "metrics.csv")
    assert float(epochs[-1]["teacher/train_uar"]) > 0.5, "chance is 0.125"

    (path,) = (tmp_path / "cache" / "face_embeddings").iterdir()
    cache = str(tmp_path / "cache")
    faces = ready(VideoDataModule, drawn, num_video_frames=2, cache=cache)  # with the default size
    (batch,) = faces.loader(faces.split["test"])
    assert batch["faces"].shape == (8, 2, 3, 224, 224)
    mean = torch.tensor([0.4076, 0.4580, 0.4850]).view(3, 1, 1)
    with torch.no_grad():
        expected = network(batch["faces"].flatten(0, 1) - 255 * mean).unflatten(0, (8, 2))
    for row, clip in enumerate(batch["clip"]):
        np.testing.assert_allclose(ClipTensors(path)[clip]["face_embeddings"], expected[row], rtol=1e-3, atol=1e-3)
