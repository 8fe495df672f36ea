import pytest
import torch
from lightning.pytorch import seed_everything

from crossmodal.errors import WeightsError
from crossmodal.models.serialization import save_model
from crossmodal.tasks import ControlTask, FinetuneTask, TransferTask
from tests.tasks.tiny import NUM_CLASSES, STUDENT, loader, trainer, voices

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

LABELS = [0, 1, 2, 3]


def same_weights(one, other):
    one, other = one.state_dict(), other.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("kwargs", [{}, {"align_loss": None}, {"kd_loss": None}, {"align_loss": "cosine"}], ids=str)
def test_student_and_control_have_the_same_initial_weights(kwargs):
    seed_everything(7, verbose=False)
    student = TransferTask(**STUDENT, **kwargs)
    seed_everything(7, verbose=False)
    control = ControlTask(**STUDENT)
    seed_everything(8, verbose=False)
    other = ControlTask(**STUDENT)
    assert same_weights(student.model, control.model)
    assert not same_weights(student.model, other.model)


def test_finetuning_starts_from_the_passed_weights(tmp_path):
    donor = FinetuneTask(**STUDENT)
    save_model(donor.model, tmp_path / "student.safetensors")
    assert not same_weights(FinetuneTask(**STUDENT).model, donor.model)
    assert same_weights(FinetuneTask(**STUDENT, weights=str(tmp_path / "student.safetensors")).model, donor.model)


def test_weights_of_another_student_and_missing_weights_are_a_weights_error(tmp_path):
    path = tmp_path / "student.safetensors"
    save_model(FinetuneTask(**STUDENT).model, path)
    for changed in ({"embedding_size": 24, "weights": str(path)}, {"weights": f"{path}.gone"}):
        with pytest.raises(WeightsError, match=r"student\.safetensors"):
            FinetuneTask(**STUDENT | changed)


def test_predictions_are_probabilities_of_each_clip():
    task = FinetuneTask(**STUDENT)
    predictions = trainer().predict(task, loader(voices(LABELS), batch_size=3))
    assert [clip for batch in predictions for clip in batch["clip"]] == ["clip-0", "clip-1", "clip-2", "clip-3"]
    probabilities = torch.cat([batch["probabilities"] for batch in predictions])
    assert probabilities.shape == (4, NUM_CLASSES)
    assert probabilities.min() >= 0
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(4))


def test_the_loss_of_a_clip_does_not_depend_on_its_batch():
    task = FinetuneTask(**STUDENT).eval()
    items = voices(LABELS)  # of four lengths, so three are padded
    (together,) = loader(items)
    with torch.no_grad():
        _, losses = task.compute_losses(together)
        alone = [task.compute_losses(batch)[1]["loss"] for batch in loader(items, batch_size=1)]
    torch.testing.assert_close(losses["loss"], torch.stack(alone).mean(), rtol=1e-4, atol=1e-5)


def test_validation_loss_is_the_mean_over_clips():
    task = FinetuneTask(**STUDENT)
    items = voices([0, 1, 2, 3, 0])
    whole = trainer().validate(task, loader(items, batch_size=5), verbose=False)[0]
    parts = trainer().validate(task, loader(items, batch_size=4), verbose=False)[0]
    assert parts["finetune/val_loss"] == pytest.approx(whole["finetune/val_loss"], rel=1e-4)
