from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmodal.errors import ConfigError
from crossmodal.losses import ALIGN_LOSSES, LOSSES, KDLossName, LossName, RKDLoss, create_loss
from tests.losses import value_and_gradient

NUM_FEATURES, NUM_CLASSES, OTHER_WIDTH = 5, 8, 7
every_loss = pytest.mark.parametrize("name", get_args(LossName))


def make(name, seed=0, size=6, labels=None):
    """Create a loss and its inputs, with embeddings of different widths if the loss allows it."""
    generator = torch.Generator().manual_seed(seed)
    entry = LOSSES[name]
    teacher_width = NUM_CLASSES if entry.compares == "logits" else NUM_FEATURES
    student_width = teacher_width if entry.compares == "logits" or entry.needs_projection else OTHER_WIDTH
    arguments = [torch.randn(size, width, generator=generator).double() for width in (student_width, teacher_width)]
    if entry.needs_label:
        drawn = torch.randint(-1, NUM_CLASSES, (size,), generator=generator)
        arguments.append(drawn if labels is None else torch.full((size,), labels))
    torch.manual_seed(seed)
    return create_loss(name, NUM_FEATURES, NUM_CLASSES).double(), arguments


@every_loss
def test_every_loss_is_a_scalar_with_a_gradient_for_the_student_only(name):
    loss, (student, teacher, *label) = make(name)
    value, gradient = value_and_gradient(loss, student, teacher.requires_grad_(), *label)
    assert value.shape == ()
    assert value > 0
    assert gradient.abs().sum() > 0
    assert teacher.grad is None


@every_loss
def test_one_clip_has_a_finite_loss_with_a_gradient(name):
    loss, arguments = make(name, size=1)
    value, gradient = value_and_gradient(loss, *arguments)
    if name in ("rkd", "supcon"):  # these compare clips with each other
        assert value == 0
        assert not gradient.any()


@pytest.mark.parametrize("name", [name for name, entry in LOSSES.items() if entry.needs_label])
def test_an_unlabelled_batch_has_a_finite_loss_with_a_gradient(name):
    loss, arguments = make(name, labels=-1)
    value_and_gradient(loss, *arguments)


@pytest.mark.parametrize("name", [*get_args(KDLossName), "cosine", "mse"])
def test_loss_is_zero_only_for_equal_outputs(name):
    loss, (student, teacher) = make(name)
    assert loss(teacher, teacher).item() == pytest.approx(0, abs=1e-9)
    assert loss(student, teacher).item() > 0.01


@every_loss
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(1, 9))
def test_loss_does_not_depend_on_the_order_of_clips(name, seed, size):
    loss, arguments = make(name, seed, size)
    order = torch.randperm(size, generator=torch.Generator().manual_seed(seed))
    there, here = (loss(*(values[rows] for values in arguments)) for rows in (torch.arange(size), order))
    torch.testing.assert_close(there, here)


@every_loss
@pytest.mark.parametrize("size", [1, 6])
def test_zero_embeddings_and_logits_have_finite_gradients(name, size):
    loss, (student, *others) = make(name, size=size)
    value_and_gradient(loss, torch.zeros_like(student), *others)


@every_loss
def test_mixed_precision_gives_similar_losses(name):
    loss, arguments = make(name, size=16)
    expected = loss(*arguments)
    single = [values.float() if values.is_floating_point() else values for values in arguments]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        student = single[0].bfloat16().requires_grad_()
        value = loss.float()(student, *single[1:])
    value.backward()
    assert value.item() == pytest.approx(expected.item(), rel=0.05, abs=0.01)
    assert student.grad.isfinite().all()


@pytest.mark.parametrize(
    ("name", "argument", "value"),
    [
        *((name, "temperature", 3.0) for name in (*get_args(KDLossName), "supcon")),
        ("dist", "intra_weight", 0.3),
        ("rkd", "angle_weight", 0.0),
    ],
)
def test_arguments_are_passed_on(name, argument, value):
    default = getattr(create_loss(name, 5, 8), argument)
    assert getattr(create_loss(name, 5, 8, **{argument: value}), argument) == value != default
    assert getattr(create_loss(name, 5, 8, **{argument: None}), argument) == default


@pytest.mark.parametrize("name", [*get_args(KDLossName), "supcon"])
@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_an_invalid_temperature_is_a_value_error(name, temperature):
    with pytest.raises(ValueError, match="temperature"):
        create_loss(name, 5, 8, temperature=temperature)


def test_an_unknown_name_or_argument_suggests_the_nearest():
    with pytest.raises(ConfigError, match=r"'logit_st'.*'logit_std'"):
        create_loss("logit_st", 5, 8)
    with pytest.raises(ConfigError, match=r"'angel_weight'.*'angle_weight'"):
        create_loss("rkd", 5, 8, angel_weight=1.0)


def test_the_registry_lists_the_needs_of_each_loss():
    needs_label = {name for name, entry in LOSSES.items() if entry.needs_label}
    needs_projection = {name for name, entry in LOSSES.items() if entry.needs_projection}
    assert needs_label == {"supcon"}
    assert needs_projection == set(ALIGN_LOSSES) - {"rkd"}
    assert LOSSES["rkd"].make is RKDLoss
