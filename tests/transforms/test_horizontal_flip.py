import torch

from crossmodal.transforms import random_horizontal_flip


def test_random_clips_are_flipped_with_all_their_video_frames():
    torch.manual_seed(0)
    faces = torch.randint(0, 256, (200, 3, 3, 4, 4), dtype=torch.uint8)
    flipped = random_horizontal_flip(faces, p=0.25)
    mirrored = [torch.equal(after, before.flip(-1)) for after, before in zip(flipped, faces, strict=True)]
    left = [torch.equal(after, before) for after, before in zip(flipped, faces, strict=True)]
    assert all(one != other for one, other in zip(mirrored, left, strict=True))
    assert 30 <= sum(mirrored) <= 70


def test_probability_zero_draws_no_random_numbers():
    faces = torch.zeros(2, 1, 3, 2, 2)
    state = torch.get_rng_state()
    assert random_horizontal_flip(faces, p=0.0) is faces
    assert torch.equal(torch.get_rng_state(), state)
