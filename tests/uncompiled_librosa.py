"""librosa without its compiled functions: numba takes 20 seconds for them, and the references of our tests use none."""

import numba
import pytest


def _leave_as_it_is(*args, **kwargs):
    return args[0] if len(args) == 1 and callable(args[0]) and not kwargs else lambda function: function


with pytest.MonkeyPatch.context() as patch:
    for name in ("jit", "njit", "vectorize", "guvectorize", "stencil"):
        patch.setattr(numba, name, _leave_as_it_is)
    import librosa  # its submodules are imported lazily
    import librosa.feature.spectral
    import librosa.feature.utils

__all__ = ["librosa"]
