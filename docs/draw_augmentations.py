"""Draw what each augmentation does to one clip of the synthetic corpus, for `docs/reference/augmentations.md`.

Run it after a change of an augmentation: ``python docs/draw_augmentations.py``. It writes
``docs/images/augmentations/<name>.png``. Nobody's voice is in the pictures: the clips are rendered by code.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib

matplotlib.use("Agg")  # a file, whether or not there is a screen

import numpy as np
import soxr
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from PIL import Image
from torch import Tensor

from crossmodal.datasets.synthetic.performance import SAMPLE_RATE as RECORDED_RATE
from crossmodal.datasets.synthetic.performance import Performance
from crossmodal.datasets.synthetic.voice import synthesize_voice
from crossmodal.transforms import (
    AdditiveNoise,
    LogMelFilterBank,
    RandomCrop,
    RandomGain,
    SpecAugment,
    SpeedPerturbation,
    WaveformAugmentation,
)

FOLDER = Path(__file__).parent / "images" / "augmentations"
SAMPLE_RATE = 16000
ANGRY = Performance(channel=1, emotion=5, intensity=2, statement=1, repetition=1, actor=2)
# Finer than the default front end, so that the harmonics of a voice can be told apart.
FRONT_END = LogMelFilterBank(SAMPLE_RATE, n_fft=1024, win_length=800, n_mels=96, top_db=None)
RANGE_DB = (-50, 20)
COLOURS = "magma"
WAVE, EDGE = "#2a9d8f", "#e07a1f"
STYLE = {"axes.spines.top": False, "axes.spines.right": False, "font.size": 9, "axes.titlesize": 9}


class Sound(NamedTuple):
    """A waveform (samples,) and what is said above its picture."""

    title: str
    waveform: Tensor

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.waveform) / SAMPLE_RATE


def main() -> None:
    """Draw them all."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    clip = Sound("before", say(ANGRY))
    draw_waveforms("gain", [clip, augmented("after: 6 dB quieter", clip, RandomGain(-6, -6, p=1.0))])
    white, brown = (AdditiveNoise(10, 10, exponent, exponent, p=1.0) for exponent in (0, 2))
    noisy = [augmented("white noise at 10 dB", clip, white), augmented("brown noise at 10 dB", clip, brown)]
    draw_spectrograms("noise", [clip, *noisy])
    draw_spectrograms("crop", [clip, augmented("after: a part of it", clip, RandomCrop(p=1.0), seed=3)])
    slower, faster = (SpeedPerturbation([factor]) for factor in (0.9, 1.1))
    draw_spectrograms("speed", [clip, augmented("factor 0.9", clip, slower), augmented("factor 1.1", clip, faster)])
    draw_masks("spec_augment", clip)


def say(performance: Performance) -> Tensor:
    """A clip of the synthetic corpus, as the cache holds it."""
    return torch.from_numpy(soxr.resample(synthesize_voice(performance, seed=0), RECORDED_RATE, SAMPLE_RATE))


def augmented(title: str, sound: Sound, augment: WaveformAugmentation, seed: int = 0) -> Sound:
    """What becomes of a clip."""
    torch.manual_seed(seed)
    waveform, length = augment(sound.waveform[None, None], torch.tensor([len(sound.waveform)]))
    return Sound(title, waveform[0, 0, : length[0]])


def draw_waveforms(name: str, sounds: Sequence[Sound]) -> None:
    """Waveforms below one another, on the same axes."""
    figure, axes = new_figure(sounds)
    loudest = 1.1 * max(float(sound.waveform.abs().max()) for sound in sounds)
    for axis, sound in zip(axes, sounds, strict=True):
        time = np.arange(len(sound.waveform)) / SAMPLE_RATE
        axis.plot(time, sound.waveform, color=WAVE, linewidth=0.4)
        axis.set(ylim=(-loudest, loudest), ylabel="amplitude")
    save(figure, name)


def draw_spectrograms(name: str, sounds: Sequence[Sound], highest: float = SAMPLE_RATE / 2) -> None:
    """Log-mel spectrograms below one another, on the same axes and the same scale of colours."""
    figure, axes = new_figure(sounds)
    for axis, sound in zip(axes, sounds, strict=True):
        image = draw_mel(axis, FRONT_END(sound.waveform[None, None])[0][0], RANGE_DB, COLOURS, highest)
    figure.colorbar(image, ax=axes, label="dB", pad=0.01, aspect=30)
    save(figure, name)


def draw_masks(name: str, sound: Sound) -> None:
    """Normalized features before and after."""
    features, _ = FRONT_END(sound.waveform[None, None])
    features = (features - features.mean(dim=2, keepdim=True)) / features.std(dim=2, keepdim=True)
    torch.manual_seed(2)
    masked = SpecAugment()(features, torch.tensor([features.shape[-1]]))
    figure, axes = new_figure([sound, Sound("after: two bands and two stretches of time at the mean", sound.waveform)])
    for axis, values in zip(axes, (features[0], masked[0]), strict=True):
        image = draw_mel(axis, values, (-2.5, 2.5), "RdBu_r", SAMPLE_RATE / 2)
    figure.colorbar(image, ax=axes, label="standard deviations", pad=0.01, aspect=30)
    save(figure, name)


def draw_mel(axis: Axes, values: Tensor, limits: tuple[float, float], colours: str, highest: float) -> AxesImage:
    """One picture of (mel bands, audio frames), its bands labelled with their frequencies."""
    seconds = values.shape[-1] * FRONT_END.hop_length / SAMPLE_RATE
    image = axis.imshow(
        values, cmap=colours, vmin=limits[0], vmax=limits[1], aspect="auto", origin="lower",
        extent=(0, seconds, mel(20), mel(SAMPLE_RATE / 2)), interpolation="nearest",
    )  # fmt: skip
    frequencies = [frequency for frequency in (200, 500, 1000, 2000, 4000, 8000) if frequency <= highest]
    axis.set_yticks(
        [mel(frequency) for frequency in frequencies], [f"{frequency / 1000:g}" for frequency in frequencies]
    )
    axis.set(ylabel="kHz", ylim=(mel(20), mel(highest)))
    return image


def mel(frequency: float) -> float:
    """A frequency in Hz on the mel scale of the front end."""
    return 2595 * float(np.log10(1 + frequency / 700))


def new_figure(sounds: Sequence[Sound]) -> tuple[plt.Figure, Sequence[Axes]]:
    """A row for each sound, all on one axis of time, and a line where a sound ends before the others."""
    longest = max(sound.seconds for sound in sounds)
    figure, axes = plt.subplots(
        len(sounds), 1, figsize=(7.2, 0.5 + 1.3 * len(sounds)), sharex=True, layout="constrained", dpi=110
    )
    for axis, sound in zip(axes, sounds, strict=True):
        axis.set_title(sound.title, loc="left")
        axis.set_xlim(0, longest)
        if sound.seconds < 0.999 * longest:
            axis.axvline(sound.seconds, color=EDGE, linewidth=1, zorder=3)
    axes[-1].set_xlabel("seconds")
    return figure, axes


def save(figure: plt.Figure, name: str) -> None:
    """Write a picture, in few colours: a third of the size."""
    figure.canvas.draw()
    picture = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")
    picture.quantize(colors=200, dither=Image.Dither.NONE).save(FOLDER / f"{name}.png", optimize=True)
    plt.close(figure)


if __name__ == "__main__":
    with plt.rc_context(STYLE):
        main()
