import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from crossmodal.datamodules import collate_clips
from crossmodal.errors import ConfigError
from crossmodal.losses import KnowledgeDistillationLoss, RKDLoss
from crossmodal.models import Outputs
from crossmodal.tasks import TransferTask
from crossmodal.tasks.teaching import Teaching, TermSettings
from tests.tasks.tiny import NUM_CLASSES, STUDENT, fit, loader, trainer, voices, with_teacher_outputs

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

WIDTH, FEATURES = 5, 7
OVER_TIME = {
    "align_loss_over_time": True,
    "encoder": "tdnn",
    "encoder_kwargs": {"hidden_size": 8, "num_layers": 1},
    "front_end_kwargs": {"silence_db": None},
}


def make(**kwargs):
    return TransferTask(**STUDENT | {"teacher_embedding_size": WIDTH, "label_smoothing": 0.0} | kwargs)


def outputs(clips=6, seed=0):
    """What a student of width 16 and a teacher say of some clips."""
    generator = torch.Generator().manual_seed(seed)

    def draw(width):
        return torch.randn(clips, width, generator=generator)

    def windows(width):
        return torch.randn(clips, 3, width, generator=generator)

    student = Outputs(draw(16).requires_grad_(), draw(NUM_CLASSES).requires_grad_(), windows=windows(16))
    return student, Outputs(draw(WIDTH), draw(NUM_CLASSES), draw(FEATURES), windows(WIDTH))


def teaching(gate=None, **terms):
    settings = {name: TermSettings.parse(name, given) for name, given in terms.items()}
    return Teaching(settings, 16, WIDTH, FEATURES, NUM_CLASSES, gate)


def test_the_sum_is_each_loss_by_its_weight():
    student, teacher = outputs()
    total, parts = teaching(kd={"weight": 0.5, "temperature": 3.0}, rkd=0.2)(
        student, teacher, torch.zeros(6).long(), 1.0
    )
    kd, rkd = KnowledgeDistillationLoss(3.0)(student[1], teacher[1]), RKDLoss()(student[0], teacher[0])
    torch.testing.assert_close(parts, {"kd": kd, "rkd": rkd})
    torch.testing.assert_close(total, 0.5 * kd + 0.2 * rkd)


def test_over_time_windows_are_compared_each_as_a_clip():
    student, teacher = outputs()
    taught = teaching(mse={"weight": 1.0, "over_time": True}, supcon={"weight": 1.0, "over_time": True}).eval()
    label = torch.tensor([0, 1, 2, 0, 1, -1])
    _, parts = taught(student, teacher, label, 1.0)
    theirs = teacher.windows.reshape(-1, WIDTH)
    for name, loss in taught.losses.items():
        ours = taught.projectors[name](student.windows.reshape(-1, 16))
        by_window = [label.repeat_interleave(3)] if name == "supcon" else []
        torch.testing.assert_close(parts[name], loss(ours, theirs, *by_window))


def test_the_teachers_features_are_told_from_the_students_embedding():
    student, teacher = outputs()
    taught = teaching(regression=1.0)
    _, parts = taught(student, teacher, torch.zeros(6).long(), 1.0)
    told = taught.projectors["regression"](student.embedding)
    torch.testing.assert_close(parts["regression"], (told - teacher.features).square().mean())


def test_what_the_teacher_does_not_say_cannot_be_taught():
    student, teacher = outputs()
    over_time = teaching(mse={"weight": 1.0, "over_time": True})
    with pytest.raises(ConfigError, match="needs faces over time"):
        over_time(student, teacher._replace(windows=None), torch.zeros(6).long(), 1.0)
    with pytest.raises(ConfigError, match="lack what it looked at"):
        teaching(regression=1.0)(student, teacher._replace(features=None), torch.zeros(6).long(), 1.0)


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
    student = Outputs(torch.zeros(3, 16), logits)
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
        ({"more_losses": {"kd": {"weight": 1.0, "over_time": True}}}, "compares no embeddings"),
        ({"align_loss_over_time": True, "encoder": "dense"}, "one vector of a whole clip"),
        ({**OVER_TIME, "front_end_kwargs": None}, "silence_db: null"),
        ({**OVER_TIME, "augmentation": {"crop": {}, "gain": {}}}, "leave out the augmentation RandomCrop"),
        ({**OVER_TIME, "augmentation": {"mixup": {}}}, "leave out the augmentation Mixup"),
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


def test_a_student_learns_when_a_face_shows_what():
    """Each clip is two tones in turn; the teacher's windows name the tone of the moment, its embedding nothing."""
    torch.manual_seed(0)
    tones = torch.tensor([[0, 1], [1, 0]] * 4)
    items = []
    for number, pair in enumerate(tones.tolist()):
        halves = [voices([tone], seed=number)[0]["waveform"] for tone in pair]
        said = {"teacher_embedding": torch.zeros(WIDTH), "teacher_logits": torch.zeros(NUM_CLASSES)}
        windows = torch.eye(WIDTH)[torch.tensor(pair)]
        items.append(
            {"clip": f"{number}", "label": 0, "waveform": torch.cat(halves), "teacher_windows": windows, **said}
        )
    task = make(kd_loss=None, align_loss="cosine", task_loss_weight=0.0, **OVER_TIME)
    batch = collate_clips(items)
    fit(task, DataLoader(items, batch_size=8, collate_fn=collate_clips), max_epochs=60)
    task.eval()
    with torch.no_grad():
        _, windows = task.model.encode_windows(*task.features(batch), 2)
        told = task.teaching.projectors["align_loss"](windows)[..., :2].argmax(dim=-1)
    assert torch.equal(told, tones)
