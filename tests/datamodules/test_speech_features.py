import numpy as np
import pytest
import torch

import tests.datamodules
from crossmodal import AudioDataModule
from crossmodal.datamodules import collate_clips
from crossmodal.errors import ConfigError, DataError

HEIGHT = 6


def ready(root, **settings):
    return tests.datamodules.ready(AudioDataModule, root, **settings)


@pytest.fixture(scope="module")
def waveforms(tiny_ravdess):
    return ready(tiny_ravdess)


@pytest.fixture(scope="module")
def stored(waveforms, tmp_path_factory):
    """Store features that identify their clip and its length."""
    folder = tmp_path_factory.mktemp("speech_features") / "key"
    folder.mkdir()
    for path in waveforms.waveforms.values():
        samples = np.load(path)
        np.save(folder / path.name, np.full((HEIGHT, len(samples) // 1600), samples.std(), np.float16))
    return folder


def test_features_replace_waveforms(tiny_ravdess, waveforms, stored):
    features = ready(tiny_ravdess, speech_features=str(stored))
    for name in ("train_dataloader", "test_dataloader"):
        batch, sound = next(iter(getattr(features, name)())), next(iter(getattr(waveforms, name)()))
        assert batch.keys() == {"clip", "label", "features", "feature_length"}
        assert (batch["clip"], batch["label"].tolist()) == (sound["clip"], sound["label"].tolist())
        assert (batch["feature_length"].dtype, batch["features"].dtype) == (torch.int64, torch.float32)
        assert batch["feature_length"].tolist() == (sound["waveform_length"] // 1600).tolist()
        assert batch["features"].shape == (8, HEIGHT, int(batch["feature_length"].max()))
        for row, length in zip(range(8), batch["feature_length"].tolist(), strict=True):
            own = sound["waveform"][row, 0, : sound["waveform_length"][row]].std(correction=0)
            torch.testing.assert_close(
                batch["features"][row, :, :length], own.expand(HEIGHT, length), rtol=1e-3, atol=1e-3
            )
            assert not batch["features"][row, :, length:].any()


def test_the_fingerprint_depends_on_the_stored_features(tiny_ravdess, waveforms, stored, tmp_path):
    def fingerprint(folder):
        folder.mkdir(parents=True, exist_ok=True)
        return ready(tiny_ravdess, speech_features=str(folder)).fingerprint

    assert fingerprint(stored) != waveforms.fingerprint
    assert fingerprint(tmp_path / "another_key") != fingerprint(stored)
    assert fingerprint(tmp_path / "moved" / stored.name) == fingerprint(stored)


def test_a_missing_folder_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere.*speech_features"):
        AudioDataModule("somewhere", speech_features=str(tmp_path / "nowhere"))


def test_a_clip_missing_in_the_folder_is_a_data_error(tiny_ravdess, tmp_path):
    with pytest.raises(DataError, match=r"\.npy"):
        next(iter(ready(tiny_ravdess, speech_features=str(tmp_path)).val_dataloader()))


def test_half_precision_features_become_single_precision():
    values = torch.tensor([[65504.0, 6e-8], [0.1, -3.3]]).half()
    items = [{"clip": name, "label": 0, "features": values[:, :size]} for name, size in (("a", 2), ("b", 1))]
    batch = collate_clips(items)
    assert torch.equal(batch["features"], torch.stack([values, values * torch.tensor([1, 0])]).float())
    assert batch["feature_length"].tolist() == [2, 1]
