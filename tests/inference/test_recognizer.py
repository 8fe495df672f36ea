import io
import json
import re
import shutil
import subprocess
import sys
from unittest.mock import Mock

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from crossmodal import media
from crossmodal.errors import ConfigError, HubError, MediaError, MissingExtraError, ModelFolderError
from crossmodal.inference import SILENCE, EmotionRecognizer, Prediction
from crossmodal.inference import recognizer as module
from tests.inference.conftest import LABELS
from tests.inference.fake_model import fake_recognizer


@pytest.fixture(scope="session")
def wav(tiny_ravdess):
    return tiny_ravdess / "Actor_01" / "03-01-05-01-01-01-01.wav"


def numbers(prediction: Prediction) -> list[float]:
    return list(prediction.probabilities.values())


class TestPredictions:
    def test_probabilities_are_the_softmax_of_the_logits(self, recognizer, model, wav):
        waveform = torch.from_numpy(media.read_waveform(wav)).view(1, 1, -1)
        with torch.inference_mode():
            expected = model(waveform).softmax(dim=-1)[0]
        np.testing.assert_allclose(numbers(recognizer(wav)), expected, atol=1e-6)
        assert list(recognizer(wav).probabilities) == LABELS

    def test_the_temperature_divides_the_logits(self, recognizer, model_folder, tmp_path, wav):
        folder = shutil.copytree(model_folder, tmp_path / "warm")
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"temperature": 2.5}))
        powers = np.array(numbers(recognizer(wav))) ** (1 / 2.5)
        found = numbers(EmotionRecognizer.from_pretrained(folder)(wav))
        np.testing.assert_allclose(found, powers / powers.sum(), atol=1e-6)

    @settings(max_examples=15)
    @given(hnp.arrays(np.float32, st.integers(1600, 4000), elements=st.floats(-1, 1, width=32)))
    def test_probabilities_of_any_sound_sum_to_one_unless_it_is_silent(self, recognizer, samples):
        prediction = recognizer(samples)
        if prediction.is_silence:
            assert np.std(samples) < 0.002
        else:
            assert min(numbers(prediction)) >= 0
            assert sum(numbers(prediction)) == pytest.approx(1)


class TestRecordings:
    def test_path_bytes_and_open_file_are_equivalent(self, recognizer, wav):
        expected = recognizer(wav)
        assert recognizer(str(wav)) == recognizer(wav.read_bytes()) == expected
        with wav.open("rb") as file:
            assert recognizer(file) == recognizer(file) == expected
        assert recognizer(io.BytesIO(wav.read_bytes())) == expected

    def test_samples_at_another_rate_are_equivalent_to_their_file(self, recognizer, wav):
        samples, sample_rate = soundfile.read(wav, dtype="float32")
        assert sample_rate == 48_000
        expected = numbers(recognizer(wav))
        for given_samples in (samples, samples.astype(np.float64), samples[None], np.stack([samples, samples])):
            np.testing.assert_allclose(numbers(recognizer(given_samples, sample_rate)), expected, atol=1e-6)

    @pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint8, np.float64, np.float16])
    def test_samples_of_any_dtype_are_scaled(self, recognizer, wav, dtype):
        floats = soundfile.read(wav, dtype="float64")[0]
        if np.issubdtype(dtype, np.integer):
            scale = np.iinfo(dtype)
            half = (scale.max - scale.min + 1) / 2
            samples = np.clip(np.round(floats * half) + (0 if scale.min else half), scale.min, scale.max).astype(dtype)
        else:
            samples = floats.astype(dtype)
        atol = 1e-4 if dtype in (np.int16, np.int32) else 0.05
        np.testing.assert_allclose(numbers(recognizer(samples, 48_000)), numbers(recognizer(wav)), atol=atol)

    @pytest.mark.parametrize("wrap", [np.int32, np.int64, np.uint32, np.uint64, torch.int32, torch.int64, list])
    def test_integers_of_unknown_full_scale_are_refused(self, recognizer, wrap):
        samples = np.random.default_rng(0).integers(0, 2**15, 16_000).astype(np.int16)
        if isinstance(wrap, torch.dtype):
            wide = torch.from_numpy(samples).to(wrap)
        else:
            wide = samples.tolist() if wrap is list else samples.astype(wrap)
        for predict in (recognizer.timeline, recognizer.stream().feed, lambda samples: recognizer([samples])):
            with pytest.raises(MediaError, match=r"full scale .* 32768"):
                predict(wide)
        with pytest.raises(MediaError, match="full scale"):
            recognizer(samples.tolist())  # a flat list is a list of recordings
        assert recognizer(samples) == recognizer((samples / 2**15).astype(np.float32))

    def test_int32_is_full_scale_if_it_uses_more_than_24_bits(self, recognizer):
        samples = np.random.default_rng(0).integers(-(2**23), 2**23, 16_000).astype(np.int32)
        assert recognizer(samples * 256) == recognizer((samples / 2**23).astype(np.float32))
        samples[0] = -(2**31)
        assert not recognizer(samples).is_silence
        with pytest.raises(MediaError, match="full scale"):
            recognizer(samples[1:])
        with pytest.raises(MediaError, match="full scale"):
            recognizer.stream().feed(samples)
        assert recognizer(np.zeros(16_000, np.int32)).is_silence  # at any full scale

    def test_audio_of_hugging_face(self, recognizer, wav):
        class Decoder:  # audio of `datasets` 4, which has the keys but is no Mapping
            get_all_samples = None

            def __getitem__(self, key):
                return audio[key]

        samples = soundfile.read(wav, dtype="float32")[0]
        audio = {"path": None, "array": samples, "sampling_rate": 48_000}
        expected = recognizer(samples, 48_000)
        assert recognizer(audio) == recognizer(audio, 8_000) == recognizer(Decoder()) == expected
        assert recognizer([audio, samples], 48_000) == recognizer([samples, samples], 48_000)
        assert recognizer.timeline(audio) == recognizer.timeline(samples, 48_000)
        with pytest.raises(MediaError, match="sampling_rate"):
            recognizer({"array": samples})
        with pytest.raises(ConfigError, match="sampling_rate"):
            recognizer(audio | {"sampling_rate": None})
        with pytest.raises(MediaError, match="full scale"):
            recognizer(audio | {"array": [100, -100] * 8000})

    def test_channels_and_default_sample_rate(self, recognizer, wav):
        waveform = media.read_waveform(wav)
        assert recognizer(waveform) == recognizer(waveform, 16_000)
        assert recognizer(waveform) != recognizer(waveform, 8_000)
        stereo = np.stack([2 * waveform, np.zeros_like(waveform)])
        np.testing.assert_allclose(numbers(recognizer(stereo)), numbers(recognizer(waveform)), atol=1e-5)

    def test_tensors_are_samples(self, recognizer, wav):
        samples = soundfile.read(wav, dtype="float32")[0]
        tensor = torch.from_numpy(samples)
        expected = recognizer(samples, 48_000)
        assert recognizer(tensor, 48_000) == recognizer(tensor[None].requires_grad_(), 48_000) == expected
        assert numbers(recognizer(tensor.bfloat16(), 48_000)) == pytest.approx(numbers(expected), abs=0.05)

    @pytest.mark.parametrize(
        "samples, word",
        [
            *((samples, "shape") for samples in (np.array([]), np.zeros((2, 0)), np.zeros((1, 2, 3)), np.float32(0.5))),
            *((samples, "shape") for samples in (np.array(["a"]), None)),
            *((np.append(np.zeros(3000), bad), "finite") for bad in (np.nan, np.inf, 1e300)),
            (np.stack([np.append(np.zeros(3000), bad) for bad in (0, np.nan)]), "finite"),
            (np.full(3000, 32_767.0), "32,767"),
            (np.zeros((48_000, 2)), r"\(T, channels\)"),
        ],
        ids=str,
    )
    def test_invalid_samples(self, recognizer, samples, word):
        for predict in (recognizer, recognizer.timeline, lambda samples: recognizer([samples])):
            with pytest.raises(MediaError, match=word):
                predict(samples)

    @pytest.mark.parametrize("sample_rate", [0, -16_000, 10, 16_000.5, float("nan"), 10**9, True])
    def test_an_invalid_sample_rate(self, recognizer, sample_rate):
        with pytest.raises(ConfigError, match="sample_rate"):
            recognizer(np.zeros(3000), sample_rate)
        with pytest.raises(ConfigError, match="sample_rate"):
            recognizer.stream(sample_rate)

    def test_unreadable_files_are_named(self, recognizer, tmp_path):
        (tmp_path / "text.wav").write_text("not audio")
        for name in ("text.wav", "gone.wav"):
            with pytest.raises(MediaError, match=re.escape(name)):
                recognizer(tmp_path / name)


class TestLength:
    @pytest.mark.parametrize("samples, sample_rate", [(1, 16_000), (1599, 16_000), (799, 8_000)])
    def test_too_short(self, samples, sample_rate):
        with pytest.raises(MediaError, match="too short"):
            fake_recognizer()(np.ones(samples, np.float32), sample_rate)

    def test_the_minimum_is_a_tenth_of_a_second_and_padded_to_that_of_the_model(self):
        recognizer = fake_recognizer()
        recognizer.model.min_samples = 3000
        assert recognizer(np.linspace(-1, 1, 1600)).label != SILENCE
        assert recognizer.model.batches == [(1, 3000)]

    def test_too_long_for_one_label_but_not_for_a_timeline(self, tmp_path):
        recognizer = fake_recognizer()
        samples = np.tile(np.float32([0.1, -0.1]), 61 * 16_000)
        soundfile.write(tmp_path / "long.wav", samples, 16_000)
        for recording in (samples, tmp_path / "long.wav"):
            with pytest.raises(MediaError, match="120 s"):
                recognizer(recording)
            assert recognizer.timeline(recording, window=3.0, hop=3.0).duration == 122.0


class TestSilence:
    def test_silence_skips_the_model(self):
        recognizer = fake_recognizer()
        prediction = recognizer(np.full(16_000, 0.3, np.float32))
        assert (prediction.label, prediction.probabilities, prediction.score) == (SILENCE, {}, 1.0)
        assert recognizer.model.batches == []

    def test_silence_in_a_list_keeps_its_position(self):
        recognizer = fake_recognizer()
        loud = np.random.default_rng(0).uniform(-1, 1, 3200).astype(np.float32)
        predictions = recognizer([loud, np.zeros(3200), loud])
        assert [one.is_silence for one in predictions] == [False, True, False]
        assert recognizer.model.batches == [(2, 3200)]


class TestSeveral:
    def test_a_list_is_equivalent_to_single_recordings(self, recognizer, tiny_ravdess, tiny_videos):
        files = [*sorted(tiny_ravdess.rglob("*.wav"))[:20], next(tiny_videos.rglob("*.mp4"))]
        predictions = recognizer([files[0].read_bytes(), *files[1:-1], str(files[-1])])
        for one, path in zip(predictions, files, strict=True):
            assert numbers(one) == pytest.approx(numbers(recognizer(path)), abs=1e-5)
        assert recognizer([]) == []

    @given(lengths=st.lists(st.integers(1600, 40_000), max_size=40))
    def test_any_lengths_are_predicted_in_order_and_in_batches(self, lengths):
        recognizer = fake_recognizer()
        generator = np.random.default_rng(0)
        waveforms = [generator.uniform(-1, 1, length).astype(np.float32) for length in lengths]
        predictions = recognizer(waveforms)
        assert all(size <= 16 for size, _ in recognizer.model.batches)
        assert sum(size for size, _ in recognizer.model.batches) == len(lengths)
        single = fake_recognizer()
        assert predictions == [single(waveform) for waveform in waveforms]

    def test_padding_of_long_recordings_is_limited(self):
        recognizer = fake_recognizer()
        recognizer([np.tile(np.float32([0.1, -0.1]), 50 * 16_000)] * 5)
        assert all(size * length <= 120 * 16_000 for size, length in recognizer.model.batches)

    def test_the_sample_rate_applies_to_samples_only(self, recognizer, wav):
        samples = soundfile.read(wav, dtype="float32")[0]
        first, second = recognizer([samples, wav], 48_000)
        assert numbers(first) == pytest.approx(numbers(second), abs=1e-5)


class TestFromPretrained:
    def test_an_existing_folder_is_preferred_to_the_hub(self, model_folder, tmp_path, monkeypatch):
        shutil.copytree(model_folder, tmp_path / "owner" / "name")
        monkeypatch.chdir(tmp_path)
        assert EmotionRecognizer.from_pretrained("owner/name").labels == tuple(LABELS)

    def test_a_name_is_downloaded_from_the_hub(self, model_folder, monkeypatch):
        fetch = Mock(side_effect=[model_folder, HubError("no such model.")])
        monkeypatch.setattr("crossmodal.inference.hub.fetch", fetch)
        assert EmotionRecognizer.from_pretrained("owner/name", revision="v1").labels == tuple(LABELS)
        fetch.assert_called_once_with("owner/name", "v1")
        with pytest.raises(HubError, match=r"runs/model.*Hub: no such model"):
            EmotionRecognizer.from_pretrained("runs/model")

    @pytest.mark.parametrize("path", ["/nowhere/model", "nowhere", "./runs/fit/model", "a/b/c"])
    def test_a_path_is_not_looked_up_on_the_hub(self, path, monkeypatch):
        monkeypatch.setattr("crossmodal.inference.hub.fetch", lambda *request: pytest.fail("the Hub was called"))
        with pytest.raises(ModelFolderError, match="is not a model folder"):
            EmotionRecognizer.from_pretrained(path)

    def test_the_default_backend_is_onnx_if_available(self, model_folder, onnx_folder, monkeypatch):
        assert EmotionRecognizer.from_pretrained(model_folder).backend == "torch"
        assert EmotionRecognizer.from_pretrained(onnx_folder).backend == "onnx"
        both = shutil.copytree(onnx_folder, onnx_folder.with_name("both"))
        shutil.copy(model_folder / "model.safetensors", both)
        assert EmotionRecognizer.from_pretrained(both).backend == "onnx"
        assert EmotionRecognizer.from_pretrained(both, backend="torch").backend == "torch"
        monkeypatch.setattr(module, "find_spec", lambda name: None if name == "onnxruntime" else True)
        assert EmotionRecognizer.from_pretrained(both).backend == "torch"

    def test_missing_torch(self, model_folder, monkeypatch):
        monkeypatch.setattr(module, "find_spec", lambda name: None)
        with pytest.raises(MissingExtraError, match="pip install torch"):
            EmotionRecognizer.from_pretrained(model_folder)


def test_the_onnx_backend_does_not_import_torch(onnx_folder, wav):
    code = (
        "import sys, crossmodal, crossmodal.media, crossmodal.inference, crossmodal.cli.predict\n"
        f"recognizer = crossmodal.EmotionRecognizer.from_pretrained({str(onnx_folder)!r})\n"
        f"print(recognizer({str(wav)!r}).label, len(recognizer.timeline({str(wav)!r}).windows), recognizer.backend)\n"
        "print(*sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    result, modules = done.stdout.splitlines()
    label, windows, backend = result.split()
    assert label in LABELS
    assert (windows, backend) == ("1", "onnx")
    training = {f"crossmodal.{name}" for name in ("tasks", "datamodules", "losses", "pipeline")}
    assert not {"torch", "torchaudio", "lightning", "wandb", "matplotlib", *training} & {*modules.split()}
