import torch

from crossmodal.transforms import length_mask


def test_mask_is_true_within_the_length():
    length = torch.tensor([0, 2, 5])
    expected = [[position < valid for position in range(5)] for valid in (0, 2, 5)]
    assert length_mask(length, 5).tolist() == expected
