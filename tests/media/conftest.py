from pathlib import Path

import numpy as np
import pytest

from tests.media.recordings import numbered_pictures, sine, write_video


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("media")


@pytest.fixture(scope="module")
def numbered(folder) -> Path:
    return write_video(folder / "numbered.mp4", numbered_pictures(), sound=sine(440, 1.4, 48_000))


@pytest.fixture(scope="module")
def quadrants(folder) -> Path:
    picture = np.zeros((96, 128, 3), np.uint8)
    picture[:48, :64], picture[:48, 64:] = (200, 40, 40), (40, 200, 40)
    picture[48:, :64], picture[48:, 64:] = (40, 40, 200), (220, 220, 220)
    return write_video(folder / "quadrants.mp4", [picture] * 3)


@pytest.fixture(params=["decord", "pyav"])
def decoder(request):
    if request.param == "decord":
        pytest.importorskip("decord")
    return request.param
