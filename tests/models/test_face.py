import json
from typing import get_args

import pytest
import torch

from crossmodal.errors import ConfigError
from crossmodal.models import FaceClassifier, FaceEncoder, PoolingName

RANDOM = {"pretrained": False}


@pytest.fixture
def faces():
    return torch.randint(0, 256, (2, 3, 3, 48, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def make(**kwargs):
    torch.manual_seed(0)
    return FaceClassifier(**{"num_classes": 8, "dropout": 0.0} | kwargs)


@pytest.mark.parametrize("pooling", get_args(PoolingName))
@pytest.mark.parametrize("num_frames", [1, 16])
def test_precomputed_features_with_any_number_of_video_frames(pooling, num_frames):
    model = make(in_features=35, pooling=pooling)
    features = torch.randn(4, num_frames, 35)
    assert model.embed(features).shape == (4, 128)
    assert model(features).shape == (4, 8)
    torch.testing.assert_close(model(features)[:1], model(features[:1]))


def test_faces_and_their_stored_embeddings_give_the_same_logits(faces):
    model = make(backbone="test_resnet", backbone_kwargs=RANDOM).eval()
    stored = model.encoder.backbone(faces)
    torch.testing.assert_close(model(stored), model(faces))


def test_normalization_is_per_feature_over_clips_and_video_frames():
    model = make(in_features=5)
    features = 4 + 3 * torch.randn(6, 7, 5)
    model.normalization.fit_from_sums(*model.normalization.accumulate(model.extract_features(features)))
    torch.testing.assert_close(model.normalization.mean, features.mean(dim=(0, 1)))
    torch.testing.assert_close(model.normalization.std, features.std(dim=(0, 1), correction=0))
    assert model.normalization is model.encoder.normalization


@pytest.mark.parametrize(
    "kwargs",
    [
        {"in_features": 35},
        {"backbone": "test_resnet", "freeze_backbone": False, "backbone_kwargs": RANDOM | {"mean": (0.5, 0.5, 0.5)}},
    ],
)
def test_config_and_state_dict_rebuild_the_model(faces, kwargs):
    model = make(num_classes=6, embedding_size=24, hidden_size=40, pooling="attention", dropout=0.1, **kwargs).eval()
    twin = FaceClassifier(**json.loads(json.dumps(model.config))).eval()
    twin.load_state_dict(model.state_dict())
    inputs = faces if "backbone" in kwargs else torch.randn(2, 3, 35)
    assert torch.equal(twin(inputs), model(inputs))
    assert twin.config == model.config


@pytest.mark.parametrize("freeze_backbone", [True, False])
def test_gradient_reaches_every_trainable_parameter(freeze_backbone, faces):
    model = make(backbone="test_resnet", freeze_backbone=freeze_backbone, backbone_kwargs=RANDOM).train()
    model(faces).logsumexp(dim=1).sum().backward()
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not without
    assert any("backbone" in name for name, p in model.named_parameters() if p.requires_grad) != freeze_backbone


def test_nan_features_give_nan_logits():
    features = torch.randn(2, 3, 5)
    features[0, 1, 2] = float("nan")
    logits = make(in_features=5)(features)
    assert logits[0].isnan().all()
    assert logits[1].isfinite().all()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: FaceEncoder(), "in_features"),
        (lambda: FaceEncoder(7, "test_resnet", backbone_kwargs=RANDOM), "in_features is 7"),
        (lambda: FaceEncoder(backbone="test_resnet", backbone_kwargs={"pretraind": False}), "'pretrained'"),
        (lambda: FaceEncoder(35)(torch.randn(2, 3, 36)), r"\(B, N, 35\).*\(2, 3, 36\)"),
        (lambda: FaceEncoder(35)(torch.zeros(2, 3, 3, 8, 8, dtype=torch.uint8)), r"\(B, N, 35\)"),
    ],
)
def test_invalid_arguments_are_config_errors(call, message):
    with pytest.raises(ConfigError, match=message):
        call()


def test_face_outputs():
    torch.manual_seed(0)
    model = FaceClassifier(in_features=6, num_classes=4).eval()
    faces = torch.randn(2, 3, 6)
    outputs = model.predict_batch({"face_embeddings": faces})
    torch.testing.assert_close(outputs.embedding, model.embed(faces))
    torch.testing.assert_close(outputs.logits, model(faces))
