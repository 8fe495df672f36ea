import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from crossmodal.datamodules import collate_clips
from crossmodal.errors import ConfigError
from crossmodal.losses import parse_loss
from crossmodal.models import Outputs
from crossmodal.tasks import TransferTask
from crossmodal.tasks.distillation_objective import DistillationObjective, LossTerm
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
    """Return random outputs of a student of width 16 and a teacher."""
    generator = torch.Generator().manual_seed(seed)

    def draw(width):
        return torch.randn(clips, width, generator=generator)

    def windows(width):
        return torch.randn(clips, 3, width, generator=generator)

    student = Outputs(draw(16).requires_grad_(), draw(NUM_CLASSES).requires_grad_(), windows=windows(16))
    return student, Outputs(draw(WIDTH), draw(NUM_CLASSES), draw(FEATURES), windows(WIDTH))


def make_objective(**terms):
    settings = {name: LossTerm.parse(name, given) for name, given in terms.items()}
    return DistillationObjective(settings, 16, WIDTH, FEATURES, NUM_CLASSES)


def test_losses_over_time_compare_windows():
    student, teacher = outputs()
    objective = make_objective(mse={"weight": 1.0, "over_time": True}, supcon={"weight": 1.0, "over_time": True}).eval()
    label = torch.tensor([0, 1, 2, 0, 1, -1])
    _, parts = objective(student, teacher, label, 1.0)
    targets = teacher.windows.reshape(-1, WIDTH)
    for name, loss in objective.losses.items():
        predictions = objective.projectors[name](student.windows.reshape(-1, 16))
        by_window = [label.repeat_interleave(3)] if name == "supcon" else []
        torch.testing.assert_close(parts[name], loss(predictions, targets, *by_window))


def test_teacher_features_are_predicted_from_the_students_embedding():
    student, teacher = outputs()
    objective = make_objective(regression=1.0)
    _, parts = objective(student, teacher, torch.zeros(6).long(), 1.0)
    predicted = objective.projectors["regression"](student.embedding)
    torch.testing.assert_close(parts["regression"], (predicted - teacher.features).square().mean())


def test_missing_teacher_outputs_are_a_config_error():
    student, teacher = outputs()
    over_time = make_objective(mse={"weight": 1.0, "over_time": True})
    with pytest.raises(ConfigError, match="windows"):
        over_time(student, teacher._replace(windows=None), torch.zeros(6).long(), 1.0)
    with pytest.raises(ConfigError, match="crossmodal fit"):
        make_objective(regression=1.0)(student, teacher._replace(features=None), torch.zeros(6).long(), 1.0)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 5))
def test_weight_increases_linearly_and_stays(progress, warmup, weight):
    at = LossTerm(parse_loss("kd"), weight, warmup).weight_at(progress)
    assert at == pytest.approx(weight * (min(progress / warmup, 1) if warmup else 1))


def test_loss_is_zero_at_the_start_of_warmup():
    student, teacher = outputs()
    objective = make_objective(mse={"weight": 0.5, "warmup": 0.5})
    label = torch.zeros(6).long()
    start, middle, end = (float(objective(student, teacher, label, at)[0].detach()) for at in (0, 0.25, 0.5))
    assert start == 0
    assert middle == pytest.approx(end / 2)


@pytest.mark.parametrize(
    "kwargs, message",
    [
        ({"more_losses": {"rdk": 0.1}}, "'rdk'.*'rkd'"),
        ({"more_losses": {"rkd": {"warmup": 0.1}}}, "rkd.*weight"),
        ({"more_losses": {"rkd": -1.0}}, "negative"),
        ({"more_losses": {"kd": {"weight": 1.0, "temprature": 2.0}}}, "temprature"),
        ({"more_losses": {"mse": 0.1}}, "mse.*more_losses"),
        ({"more_losses": {"kd": {"weight": 1.0, "over_time": True}}}, "over_time"),
        ({"align_loss_over_time": True, "encoder": "dense"}, "'dense'"),
        ({**OVER_TIME, "front_end_kwargs": None}, "silence_db: null"),
        ({**OVER_TIME, "augmentation": {"crop": {}, "gain": {}}}, r"augmentation RandomCrop\."),
        ({**OVER_TIME, "augmentation": {"mixup": {}}}, r"augmentation Mixup\."),
        ({"kd_loss_warmup": 1.5}, r"1\.5"),
    ],
    ids=str,
)
def test_invalid_settings_are_config_errors(kwargs, message):
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        make(**kwargs)


def test_without_the_task_loss_only_distillation_remains():
    batch = collate_clips(with_teacher_outputs(voices([0, 1, 2, 3]), WIDTH))
    task = make(task_loss_weight=0.0, align_loss=None, kd_loss="kd", kd_loss_weight=0.7).train()
    _, losses = task.compute_losses(batch)
    torch.testing.assert_close(losses["loss"], 0.7 * losses["kd_loss"])
    assert losses["task_loss"] > 0


def test_warmup_follows_the_training_steps():
    class Watched(TransferTask):
        def _progress(self):
            seen.append(super()._progress())
            return seen[-1]

    seen = []
    items = with_teacher_outputs(voices([0, 1, 2, 3] * 2), WIDTH)
    task = Watched(**STUDENT, teacher_embedding_size=WIDTH, kd_loss_warmup=0.5)
    trainer(max_epochs=2).fit(task, loader(items, batch_size=4))
    assert seen == [0, 0.25, 0.5, 0.75]


def test_student_learns_the_timing_of_the_teacher():
    """Each clip has two successive tones; the teacher's windows encode the current tone, its embedding is zero."""
    torch.manual_seed(0)
    tones = torch.tensor([[0, 1], [1, 0]] * 4)
    items = []
    for number, pair in enumerate(tones.tolist()):
        halves = [voices([tone], seed=number)[0]["waveform"] for tone in pair]
        item = {"clip": f"{number}", "label": 0, "waveform": torch.cat(halves)}
        item |= {"teacher_embedding": torch.zeros(WIDTH), "teacher_logits": torch.zeros(NUM_CLASSES)}
        items.append(item | {"teacher_windows": torch.eye(WIDTH)[torch.tensor(pair)]})
    task = make(kd_loss=None, align_loss="cosine", task_loss_weight=0.0, **OVER_TIME)
    batch = collate_clips(items)
    fit(task, DataLoader(items, batch_size=8, collate_fn=collate_clips), max_epochs=60)
    task.eval()
    with torch.no_grad():
        _, windows = task.model.encode_windows(*task.features(batch), 2)
        predicted = task.teaching.projectors["align_loss"](windows)[..., :2].argmax(dim=-1)
    assert torch.equal(predicted, tones)
