from typing import get_args

import pytest
import torch

from crossmodal.errors import ConfigError
from crossmodal.losses import (
    AlignLossName,
    DISTLoss,
    KDLossName,
    StandardizedMSELoss,
    create_align_loss,
    create_kd_loss,
    list_align_losses,
    list_kd_losses,
)


def test_the_literals_name_what_there_is():
    assert sorted(get_args(KDLossName)) == list_kd_losses()
    assert sorted(get_args(AlignLossName)) == list_align_losses()


@pytest.mark.parametrize("name", get_args(KDLossName))
def test_every_kd_loss_takes_a_temperature_and_gives_a_scalar(name):
    assert create_kd_loss(name, temperature=3.0)(torch.randn(4, 8), torch.randn(4, 8)).shape == ()


@pytest.mark.parametrize("name", get_args(AlignLossName))
def test_every_align_loss_gives_a_scalar(name):
    assert create_align_loss(name, num_features=5)(torch.randn(4, 5), torch.randn(4, 5)).shape == ()


def test_arguments_arrive():
    assert create_kd_loss("dist", intra_weight=0.3).intra_weight == 0.3
    assert isinstance(create_kd_loss("dist"), DISTLoss)
    assert isinstance(create_align_loss("mse", 5), StandardizedMSELoss)


@pytest.mark.parametrize("create", [create_kd_loss, lambda name: create_align_loss(name, 5)])
def test_an_unknown_name_gets_the_list_of_names(create):
    with pytest.raises(ConfigError, match=r"Unknown .* loss 'nope'\. Known: .*(kd|mse)"):
        create("nope")
