from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmodal.errors import ConfigError
from crossmodal.losses import (
    LOSSES,
    AlignLossName,
    DecoupledKDLoss,
    DISTLoss,
    KDLossName,
    LossName,
    RKDLoss,
    StandardizedMSELoss,
    create_align_loss,
    create_kd_loss,
    create_loss,
    list_align_losses,
    list_kd_losses,
    list_losses,
)

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


def test_the_literals_match_the_registry():
    assert sorted(get_args(KDLossName)) == list_kd_losses()
    assert sorted(get_args(AlignLossName)) == list_align_losses()
    assert sorted(get_args(LossName)) == list_losses() == sorted(list_kd_losses() + list_align_losses())


@every_loss
def test_every_loss_is_a_scalar_with_a_gradient_for_the_student_only(name):
    loss, (student, teacher, *label) = make(name)
    student.requires_grad_()
    teacher.requires_grad_()
    value = loss(student, teacher, *label)
    value.backward()
    assert value.shape == ()
    assert value > 0
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None


@every_loss
def test_one_clip_has_a_finite_loss_with_a_gradient(name):
    loss, (student, teacher, *label) = make(name, size=1)
    student.requires_grad_()
    value = loss(student, teacher, *label)
    value.backward()
    assert value.isfinite()
    assert student.grad.isfinite().all()
    if name in ("rkd", "cka", "mmd", "supcon"):  # these compare clips with each other
        assert value == 0
        assert torch.equal(student.grad, torch.zeros_like(student))


@pytest.mark.parametrize("name", [name for name, entry in LOSSES.items() if entry.needs_label])
def test_an_unlabelled_batch_has_a_finite_loss_with_a_gradient(name):
    loss, (student, teacher, label) = make(name, labels=-1)
    student.requires_grad_()
    value = loss(student, teacher, label)
    value.backward()
    assert value.isfinite()
    assert student.grad.isfinite().all()


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
    student = torch.zeros_like(student).requires_grad_()
    value = loss(student, *others)
    value.backward()
    assert value.isfinite()
    assert student.grad.isfinite().all()


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


@pytest.mark.parametrize("name", get_args(KDLossName))
def test_every_kd_loss_takes_a_temperature(name):
    assert create_kd_loss(name, temperature=3.0).temperature == 3.0


@pytest.mark.parametrize("name", get_args(AlignLossName))
def test_every_align_loss_can_be_created(name):
    assert isinstance(create_align_loss(name, NUM_FEATURES, NUM_CLASSES), LOSSES[name].make)


def test_arguments_are_passed_on():
    assert create_kd_loss("dist", intra_weight=0.3).intra_weight == 0.3
    assert isinstance(create_kd_loss("dist"), DISTLoss)
    assert isinstance(create_align_loss("mse", 5), StandardizedMSELoss)
    assert isinstance(create_loss("dkd", 5, 8, non_target_weight=2.0), DecoupledKDLoss)
    assert create_loss("rkd", 5, 8, angle_weight=0.0).angle_weight == 0
    assert create_loss("supcon", 5, 8, temperature=None).temperature == 0.1
    assert create_align_loss("fd", 5, low_share=0.25).low_share == 0.25
    assert create_loss("shared_classifier", 5, 8).classifier.weight.shape == (8, 5)


@pytest.mark.parametrize(
    "create", [create_kd_loss, lambda name: create_align_loss(name, 5), lambda name: create_loss(name, 5, 8)]
)
def test_an_unknown_name_lists_the_names(create):
    with pytest.raises(ConfigError, match=r"'nope'.*(kd|mse)"):
        create("nope")


@pytest.mark.parametrize(
    "name, kind, create",
    [("mse", "KD loss", create_kd_loss), ("kd", "alignment loss", lambda name: create_align_loss(name, 5))],
)
def test_a_loss_of_the_other_kind_is_a_config_error(name, kind, create):
    with pytest.raises(ConfigError, match=f"{kind} '{name}'"):
        create(name)


@pytest.mark.parametrize(
    "create",
    [
        lambda **wrong: create_loss("rkd", 5, 8, **wrong),
        lambda **wrong: create_align_loss("rkd", 5, **wrong),
        lambda **wrong: create_kd_loss("kd", **wrong),
    ],
    ids=["loss", "alignment loss", "KD loss"],
)
def test_an_unknown_argument_is_a_config_error(create):
    with pytest.raises(ConfigError, match=r"'(rkd|kd)'.*'angel_weight'"):
        create(angel_weight=1.0)


def test_an_unknown_argument_suggests_the_nearest():
    with pytest.raises(ConfigError, match=r"'angel_weight'.*'angle_weight'"):
        create_loss("rkd", 5, 8, angel_weight=1.0)


def test_a_missing_number_of_classes_is_a_config_error():
    with pytest.raises(ConfigError, match=r"'shared_classifier'.*num_classes"):
        create_align_loss("shared_classifier", 5)


def test_the_registry_lists_the_needs_of_each_loss():
    needs_label = {name for name, entry in LOSSES.items() if entry.needs_label}
    needs_projection = {name for name, entry in LOSSES.items() if entry.needs_projection}
    assert needs_label == {"dkd", "shared_classifier", "supcon"}
    assert needs_projection == set(list_align_losses()) - {"rkd", "cka"}
    assert LOSSES["rkd"].make is RKDLoss
