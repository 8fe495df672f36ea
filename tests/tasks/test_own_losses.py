import inspect

import pytest
import torch
from torch import nn

from crossmodal.errors import ConfigError
from crossmodal.losses import KnowledgeDistillationLoss, RKDLoss
from crossmodal.models import Outputs
from crossmodal.tasks import TransferTask
from tests.tasks.tiny import NUM_CLASSES, STUDENT, fit, loader, voices, with_teacher_outputs

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

WIDTH = 5
STUDENT_WIDTH = STUDENT["embedding_size"]


class Scaled(nn.Module):
    """Mean squared difference of the logits."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, student, teacher):
        return self.scale * (student - teacher).square().mean()


class Labelled(nn.Module):
    compares = "embeddings"
    needs_label = True
    needs_projection = True

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_features))

    def forward(self, student, teacher, label):
        return ((student - teacher) * self.weight).square().mean(dim=1)[label >= 0].mean()


class Hidden(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self._scale = scale


class PerClip(nn.Module):
    def forward(self, student, teacher):
        return (student - teacher).square().mean(dim=1)


class Mistaken(nn.Module):
    compares = "waveforms"


def make(**kwargs):
    return TransferTask(**STUDENT | {"teacher_embedding_size": WIDTH} | kwargs)


def losses_of(task, label=(0, 1, 2, -1)):
    """Return each loss of a task on the same outputs, and the outputs of student and teacher."""
    generator = torch.Generator().manual_seed(0)

    def outputs(width):
        return Outputs(*(torch.randn(4, size, generator=generator) for size in (width, NUM_CLASSES)))

    student, teacher = outputs(STUDENT_WIDTH), outputs(WIDTH)
    return task.teaching(student, teacher, torch.tensor(label))[1], student, teacher


PATH = f"{__name__}.Scaled"


@pytest.mark.parametrize(
    ("given", "scale"),
    [(Scaled, 1), (Scaled(3.0), 3), (PATH, 1), ({"class_path": PATH, "init_args": {"scale": 3.0}}, 3)],
    ids=["class", "instance", "path", "arguments"],
)
def test_an_own_loss_is_a_class_path_a_class_or_an_instance(given, scale, tmp_path):
    task = make(kd_loss=given, align_loss=None)
    losses, student, teacher = losses_of(task)
    expected = scale * (student.logits - teacher.logits).square().mean()
    torch.testing.assert_close(losses["kd_loss"], expected)
    batches = loader(with_teacher_outputs(voices([0, 1, 2, 3])))
    fit(task, batches).save_checkpoint(tmp_path / "last.ckpt")
    loaded = TransferTask.load_from_checkpoint(
        tmp_path / "last.ckpt", weights_only=True, map_location="cpu", trust_own_code=True
    )
    torch.testing.assert_close(losses_of(loaded)[0]["kd_loss"], expected)


def test_an_own_loss_states_what_it_gets():
    task = make(kd_loss=None, align_loss=Labelled)
    losses, student, teacher = losses_of(task)
    projected = task.teaching.projectors["align_loss"](student.embedding)
    torch.testing.assert_close(losses["align_loss"], (projected - teacher.embedding)[:3].square().mean())
    assert "teaching.losses.align_loss.weight" in dict(task.named_parameters())
    more = make(
        kd_loss=None, align_loss=None, more_losses={f"{__name__}.Labelled": 0.5, PATH: {"weight": 1, "scale": 2.0}}
    )
    names = {f"{__name__}.{name}".replace(".", "_") for name in ("Labelled", "Scaled")}
    assert losses_of(more)[0].keys() == names
    assert more.hparams["more_losses"].keys() == {f"{__name__}.Labelled", PATH}


def test_divergence_and_cross_entropy_of_torch_get_probabilities():
    own = KnowledgeDistillationLoss(temperature=3.0)
    divergences = [nn.KLDivLoss(reduction="batchmean", log_target=log) for log in (True, False)]
    for given in (*divergences, {"class_path": "torch.nn.KLDivLoss", "init_args": {"reduction": "batchmean"}}):
        losses, student, teacher = losses_of(make(kd_loss=given, align_loss=None, temperature=3.0))
        torch.testing.assert_close(losses["kd_loss"], own(student.logits, teacher.logits))
    losses, student, teacher = losses_of(make(kd_loss=nn.CrossEntropyLoss(), align_loss=None, temperature=3.0))
    target = (teacher.logits / 3).softmax(dim=1)
    expected = -(target * (student.logits / 3).log_softmax(dim=1)).sum(dim=1).mean() * 9
    torch.testing.assert_close(losses["kd_loss"], expected)


def test_regression_losses_of_torch_compare_logits_or_projected_embeddings():
    task = make(kd_loss=nn.MSELoss(), align_loss=nn.L1Loss)
    losses, student, teacher = losses_of(task)
    torch.testing.assert_close(losses["kd_loss"], (student.logits - teacher.logits).square().mean())
    projected = task.teaching.projectors["align_loss"](student.embedding)
    torch.testing.assert_close(losses["align_loss"], (projected - teacher.embedding).abs().mean())


def test_a_built_in_class_is_the_same_as_its_name():
    for given in (RKDLoss, RKDLoss(angle_weight=0.0), f"{RKDLoss.__module__}.RKDLoss"):
        assert not make(align_loss=given).teaching.projectors
    assert inspect.signature(KnowledgeDistillationLoss).parameters["temperature"].default != 5
    task = make(kd_loss=KnowledgeDistillationLoss, temperature=5.0)
    assert task.teaching.losses["kd_loss"].temperature == 5.0


@pytest.mark.parametrize(
    ("kwargs", "word"),
    [
        ({"kd_loss": nn.CosineEmbeddingLoss()}, "CosineEmbeddingLoss"),
        ({"kd_loss": "torch.nn.TripletMarginLoss"}, "TripletMarginLoss"),
        ({"kd_loss": Mistaken()}, "waveforms"),
        ({"kd_loss": RKDLoss}, "align_loss"),
        ({"kd_loss": Labelled}, "align_loss"),
        ({"align_loss": KnowledgeDistillationLoss}, "kd_loss"),
        ({"kd_loss": "kdd"}, "logit_std.*my_module"),
        ({"kd_loss": f"{__name__}.Nothing"}, "Nothing"),
        ({"kd_loss": 3.0}, "Module"),
        ({"kd_loss": Scaled, "more_losses": {PATH: 0.1}}, "more_losses"),
        ({"kd_loss": {"class_path": PATH, "init_args": {"size": 1}}}, "scale"),
        ({"kd_loss": Hidden(1)}, "cannot be saved"),
    ],
    ids=str,
)
def test_a_loss_that_cannot_be_used_is_a_config_error(kwargs, word):
    with pytest.raises(ConfigError, match=word):
        make(**kwargs)


@pytest.mark.parametrize(
    ("kwargs", "word"),
    [
        ({"kd_loss": nn.MSELoss(reduction="none")}, "one number"),
        ({"kd_loss": PerClip}, "one number"),
        ({"align_loss": Scaled}, "shapes"),
    ],
    ids=str,
)
def test_a_loss_that_fails_is_a_config_error_in_the_first_step(kwargs, word):
    with pytest.raises(ConfigError, match=word):
        losses_of(make(**kwargs))


def test_a_batch_needs_only_the_teacher_outputs_that_are_compared():
    items = with_teacher_outputs(voices([0, 1, 2, 3]))
    for missing, unused in (("teacher_embedding", "align_loss"), ("teacher_logits", "kd_loss")):
        batches = loader([{name: value for name, value in item.items() if name != missing} for item in items])
        task = make(**{unused: None})
        fit(task, batches)
        with pytest.raises(ConfigError, match=missing.removeprefix("teacher_")):
            fit(make(), batches)
