import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossmodal.datamodules import collate_clips
from crossmodal.errors import ConfigError
from crossmodal.losses import parse_loss
from crossmodal.models import Outputs
from crossmodal.tasks import TransferTask
from crossmodal.tasks.distillation_objective import DistillationObjective, LossTerm
from tests.tasks.tiny import NUM_CLASSES, STUDENT, loader, trainer, voices, with_teacher_outputs

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

WIDTH = 5


def make(**kwargs):
    return TransferTask(**STUDENT | {"teacher_embedding_size": WIDTH, "label_smoothing": 0.0} | kwargs)


def outputs(clips=6, seed=0):
    """Return random outputs of a student of width 16 and a teacher."""
    generator = torch.Generator().manual_seed(seed)

    def draw(width):
        return torch.randn(clips, width, generator=generator)

    student = Outputs(draw(16).requires_grad_(), draw(NUM_CLASSES).requires_grad_())
    return student, Outputs(draw(WIDTH), draw(NUM_CLASSES))


def make_objective(**terms):
    settings = {name: LossTerm.parse(name, given) for name, given in terms.items()}
    return DistillationObjective(settings, 16, WIDTH, NUM_CLASSES)


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
