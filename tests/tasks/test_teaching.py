import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossmodal.datamodules import collate_clips
from crossmodal.errors import ConfigError
from crossmodal.losses import KnowledgeDistillationLoss, RKDLoss
from crossmodal.tasks import TransferTask
from crossmodal.tasks.teaching import Teaching, TermSettings
from tests.tasks.tiny import NUM_CLASSES, STUDENT, loader, trainer, voices, with_teacher_outputs

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

WIDTH = 5


def make(**kwargs):
    return TransferTask(**STUDENT | {"teacher_embedding_size": WIDTH, "label_smoothing": 0.0} | kwargs)


def outputs(clips=6, seed=0):
    """What a student of width 16 and a teacher say of some clips."""
    generator = torch.Generator().manual_seed(seed)

    def draw(width):
        return torch.randn(clips, width, generator=generator)

    return (draw(16).requires_grad_(), draw(NUM_CLASSES).requires_grad_()), (draw(WIDTH), draw(NUM_CLASSES))


def teaching(gate=None, **terms):
    settings = {name: TermSettings.parse(name, given) for name, given in terms.items()}
    return Teaching(settings, 16, WIDTH, NUM_CLASSES, gate)


def test_the_sum_is_each_loss_by_its_weight():
    student, teacher = outputs()
    total, parts = teaching(kd={"weight": 0.5, "temperature": 3.0}, rkd=0.2)(
        student, teacher, torch.zeros(6).long(), 1.0
    )
    kd, rkd = KnowledgeDistillationLoss(3.0)(student[1], teacher[1]), RKDLoss()(student[0], teacher[0])
    torch.testing.assert_close(parts, {"kd": kd, "rkd": rkd})
    torch.testing.assert_close(total, 0.5 * kd + 0.2 * rkd)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 5))
def test_a_weight_rises_in_a_straight_line_and_stays(progress, warmup, weight):
    at = TermSettings("kd", weight, warmup).weight_at(progress)
    assert at == pytest.approx(weight * (min(progress / warmup, 1) if warmup else 1))


def test_nothing_is_taught_at_the_start_of_a_warm_up():
    student, teacher = outputs()
    taught = teaching(mse={"weight": 0.5, "warmup": 0.5})
    totals = [
        float(taught(student, teacher, torch.zeros(6).long(), progress)[0].detach()) for progress in (0, 0.25, 0.5)
    ]
    assert totals[0] == 0
    assert totals[1] == pytest.approx(totals[2] / 2)


def test_the_teacher_teaches_only_where_it_is_right_or_nobody_knows():
    student, teacher = outputs(4)
    guess = teacher[1].argmax(dim=1)
    label = torch.stack([guess[0], (guess[1] + 1) % NUM_CLASSES, guess[2], torch.tensor(-1)])
    total, _ = teaching("teacher_correct", kd=1.0)(student, teacher, label, 1.0)
    expected = KnowledgeDistillationLoss()(student[1][[0, 2, 3]], teacher[1][[0, 2, 3]])
    torch.testing.assert_close(total, expected)


def test_the_teacher_teaches_only_where_the_student_ranks_the_emotions_alike():
    _, teacher = outputs(3)
    same = 3 * teacher[1] + 1
    logits = torch.stack([same[0], -same[1], same[2]]).requires_grad_()
    student = (torch.zeros(3, 16), logits)
    total, _ = teaching("agreement", kd=1.0)(student, teacher, torch.zeros(3).long(), 1.0)
    torch.testing.assert_close(total, KnowledgeDistillationLoss()(logits[[0, 2]], teacher[1][[0, 2]]))


@pytest.mark.parametrize("name", ["kd", "mse", "rkd", "cka", "supcon"])
def test_where_the_gate_leaves_no_clip_nothing_is_taught(name):
    student, teacher = outputs(3)
    wrong = (teacher[1].argmax(dim=1) + 1) % NUM_CLASSES
    total, parts = teaching("teacher_correct", **{name: 1.0})(student, teacher, wrong, 1.0)
    assert total == 0
    assert parts[name] == 0
    total.backward()
    assert student[1].grad.abs().sum() == 0


@pytest.mark.parametrize(
    "kwargs, message",
    [
        ({"more_losses": {"rdk": 0.1}}, "Unknown loss 'rdk'.*Did you mean 'rkd'"),
        ({"more_losses": {"rkd": {"warmup": 0.1}}}, "The loss rkd needs a weight"),
        ({"more_losses": {"rkd": -1.0}}, "must not be negative"),
        ({"more_losses": {"kd": {"weight": 1.0, "temprature": 2.0}}}, "temprature"),
        ({"more_losses": {"mse": 0.1}}, "mse is named twice"),
        ({"kd_loss_warmup": 1.5}, "a share of training, from 0 to 1"),
        ({"gate": "teacher_right"}, "Unknown gate 'teacher_right'.*teacher_correct"),
    ],
    ids=str,
)
def test_a_setting_that_cannot_be_is_named(kwargs, message):
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        make(**kwargs)


def test_without_the_task_loss_only_the_teacher_teaches():
    batch = collate_clips(with_teacher_outputs(voices([0, 1, 2, 3]), WIDTH))
    task = make(task_loss_weight=0.0, align_loss=None, kd_loss="kd", kd_loss_weight=0.7).train()
    _, losses = task.compute_losses(batch)
    torch.testing.assert_close(losses["loss"], 0.7 * losses["kd_loss"])
    assert losses["task_loss"] > 0


def test_pairs_without_a_label_are_taught():
    items = with_teacher_outputs(voices([-1, -1, -1, -1]), WIDTH)
    task = make().train()
    _, losses = task.compute_losses(collate_clips(items))
    assert losses["task_loss"] == 0
    assert losses["loss"] > 0


def test_a_warm_up_follows_the_steps_of_training():
    class Watched(TransferTask):
        def _progress(self):
            seen.append(super()._progress())
            return seen[-1]

    seen = []
    items = with_teacher_outputs(voices([0, 1, 2, 3] * 2), WIDTH)
    task = Watched(**STUDENT, teacher_embedding_size=WIDTH, kd_loss_warmup=0.5)
    trainer(max_epochs=2).fit(task, loader(items, batch_size=4))
    assert seen == [0, 0.25, 0.5, 0.75]
