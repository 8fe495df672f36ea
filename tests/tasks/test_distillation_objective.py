import pytest
import torch

from crossmodal.datamodules import collate_clips
from crossmodal.errors import ConfigError
from crossmodal.models import Outputs
from crossmodal.tasks import TransferTask
from crossmodal.tasks.distillation_objective import DistillationObjective, LossTerm
from tests.tasks.tiny import NUM_CLASSES, STUDENT, voices, with_teacher_outputs

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


def test_the_loss_is_the_weighted_sum():
    student, teacher = outputs()
    objective = make_objective(mse=0.5, rkd={"weight": 2.0, "angle_weight": 0.0})
    loss, parts = objective(student, teacher, torch.zeros(6).long())
    torch.testing.assert_close(loss, 0.5 * parts["mse"] + 2.0 * parts["rkd"])


class TestUnlabelledOnly:
    """With `teach_labelled` false, the labelled clips of a batch learn from their labels alone."""

    def objective(self, **terms):
        objective = make_objective(**terms)
        objective.teach_labelled = False
        return objective

    @pytest.mark.parametrize("loss", ["kd", "mse", "dist", "rkd"])
    def test_the_loss_is_that_of_the_unlabelled_clips_times_their_share(self, loss):
        student, teacher = outputs()
        label = torch.tensor([0, -1, 2, -1, -1, 1])
        objective = self.objective(**{loss: 2.0})
        total, parts = objective(student, teacher, label)
        rows = [1, 3, 4]
        alone = [Outputs(side.embedding[rows], side.logits[rows]) for side in (student, teacher)]
        objective.teach_labelled = True
        expected, _ = objective(*alone, torch.full((3,), -1))
        torch.testing.assert_close(total, 0.5 * expected)
        torch.testing.assert_close(2.0 * parts[loss], expected)

    def test_labelled_clips_get_no_gradient(self):
        student, teacher = outputs()
        self.objective(kd=1.0)(student, teacher, torch.tensor([0, -1, 2, 3, 1, 1]))[0].backward()
        assert [bool(row.any()) for row in student.logits.grad] == [False, True, False, False, False, False]

    def test_a_batch_without_unlabelled_clips_teaches_nothing(self):
        student, teacher = outputs()
        loss, parts = self.objective(kd=1.0, mse=1.0)(student, teacher, torch.zeros(6).long())
        loss.backward()
        assert float(loss) == 0
        assert not student.logits.grad.any()
        assert parts.keys() == {"kd", "mse"}


@pytest.mark.parametrize(
    "kwargs, message",
    [
        ({"more_losses": {"rdk": 0.1}}, "'rdk'.*'rkd'"),
        ({"more_losses": {"rkd": {"angle_weight": 0.1}}}, "rkd.*weight"),
        ({"more_losses": {"rkd": -1.0}}, "negative"),
        ({"more_losses": {"logit_std": {"weight": 1.0, "temprature": 2.0}}}, "temprature"),
        ({"more_losses": {"mse": 0.1}}, "mse.*more_losses"),
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
