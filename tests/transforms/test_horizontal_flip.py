import torch

from crossmodal.transforms import random_horizontal_flip


def test_random_clips_are_flipped_with_all_their_video_frames():
    faces = torch.randint(0, 256, (200, 3, 3, 4, 4), dtype=torch.uint8)
    torch.manual_seed(0)
    flipped = random_horizontal_flip(faces, p=0.25)
    torch.manual_seed(0)
    is_flipped = torch.rand(200) < 0.25
    assert 30 <= is_flipped.sum() <= 70
    assert torch.equal(flipped, torch.where(is_flipped[:, None, None, None, None], faces.flip(-1), faces))


def test_probability_zero_draws_no_random_numbers():
    faces = torch.zeros(2, 1, 3, 2, 2)
    state = torch.get_rng_state()
    assert random_horizontal_flip(faces, p=0.0) is faces
    assert torch.equal(torch.get_rng_state(), state)
