"""Source-filter synthesis of a voice: glottal pulses and noise, filtered by moving formants."""

from dataclasses import dataclass

import numpy as np

from crossmodal.datasets.synthetic.performance import (
    EMOTIONS,
    SAMPLE_RATE,
    VIDEO_FRAME,
    Floats,
    Performance,
    random_stream,
    shown_emotions,
)

CUES = ("pitch", "range", "energy", "tempo", "tilt", "breath", "tremor", "rise")
"""Cues of emotion in a voice, each as the difference from a neutral voice."""

# Pitch in semitones; range as log2 of the melody's span; energy in dB; tempo as log2 of the speed; tilt in dB per
# octave; breath and tremor from 0 to about 1; rise of the sentence's end above its usual fall, in semitones.
CUES_BY_EMOTION = {
    #             pitch range energy tempo  tilt breath tremor rise
    "neutral":   (+0.0, +0.0, +0.0, +0.00, +0.0, +0.0, +0.0, +0.0),
    "calm":      (-0.8, +0.0, -2.5, -0.14, -1.0, +0.2, +0.0, +0.6),
    "happy":     (+4.0, +0.9, +5.5, +0.06, +1.0, +0.0, +0.1, +2.5),
    "sad":       (+0.8, -0.7, -3.5, -0.26, -1.5, +0.5, +0.4, -0.5),
    "angry":     (+3.5, +0.5, +10., +0.08, +2.6, -0.1, +0.0, -2.5),
    "fearful":   (+6.0, -0.2, +4.5, +0.20, +0.2, +0.4, +0.8, +1.0),
    "disgust":   (-1.0, +0.3, +2.0, -0.24, +1.2, +0.1, +0.2, -2.0),
    "surprised": (+6.0, +1.1, +4.0, +0.08, +0.2, +0.2, +0.0, +6.5),
}  # fmt: skip

# Standard deviation of each cue between clips of the same emotion.
CUE_SPREAD = np.array([1.2, 0.35, 2.2, 0.08, 0.7, 0.15, 0.15, 1.2])


@dataclass(frozen=True)
class Sound:
    """A speech sound: duration in seconds, frequencies of formants and noise in Hz, and their levels."""

    duration: float
    formants: tuple[int, int, int]
    voicing: float = 1.0
    noise: float = 0.0
    noise_centre: int = 4000
    held: bool = False  # sustained in song


SOUNDS = {
    "ih": Sound(0.075, (400, 1950, 2550), held=True),
    "ah": Sound(0.060, (620, 1200, 2500), 0.8, held=True),
    "aa": Sound(0.100, (720, 1150, 2450), held=True),
    "ao": Sound(0.130, (580, 900, 2450), held=True),
    "ay": Sound(0.110, (700, 1300, 2500), held=True),
    "iy": Sound(0.060, (320, 2200, 2900), 0.9),
    "er": Sound(0.110, (460, 1250, 1650), 0.8, held=True),
    "ng": Sound(0.080, (280, 2000, 2700), 0.45),
    "dh": Sound(0.035, (300, 1500, 2500), 0.4, 0.12, 6000),
    "z": Sound(0.065, (280, 1700, 2550), 0.25, 0.35, 6200),
    "s": Sound(0.105, (280, 1700, 2550), 0.0, 0.6, 6500),
    "closure": Sound(0.050, (300, 1600, 2500), 0.0),
    "murmur": Sound(0.045, (220, 1300, 2400), 0.2),
    "k": Sound(0.040, (350, 1900, 2400), 0.0, 0.4, 2400),
    "t": Sound(0.040, (350, 1800, 2600), 0.0, 0.4, 4800),
    "d": Sound(0.022, (320, 1700, 2600), 0.4, 0.25, 4200),
    "b": Sound(0.018, (320, 1000, 2300), 0.4, 0.15, 1200),
    "g": Sound(0.025, (320, 1600, 2200), 0.4, 0.25, 2000),
}

# RAVDESS's two statements: "Kids are talking by the door" and "Dogs are sitting by the door".
BY_THE_DOOR = "murmur b ay iy dh ah murmur d ao er"
STATEMENTS = {
    1: f"k ih murmur d z aa er closure t ao closure k ih ng {BY_THE_DOOR}".split(),
    2: f"murmur d ao murmur g z aa er s ih closure t ih ng {BY_THE_DOOR}".split(),
}
MELODY = np.array([0, 2, 4, 0, 2, 4, 5, 2, 0])  # notes of a song, in semitones
SUSTAIN = 2.6  # factor on the duration of vowels in song

FFT_SIZE = 2048
WINDOW = 1024  # samples: 21 ms
HOP = WINDOW // 2
FORMANT_RATE = 16_000  # Hz; resonators at this rate need no correction for formants above the fifth


class Speaker:
    """An actor's voice: its basic properties, and its expression of each cue. Odd actors are male."""

    def __init__(self, actor: int, seed: int) -> None:
        random = random_stream(seed, "speaker", actor)
        male = actor % 2 == 1
        self.pitch = (112.0 if male else 198.0) * 2 ** random.normal(0, 0.13)  # Hz, in a neutral voice
        self.tract = (1.0 if male else 1.15) * 2 ** random.normal(0, 0.05)  # factor on formants: short tracts above 1
        self.breath = 0.1 + 0.1 * random.random() + (0.0 if male else 0.05)
        # Factor on each cue (anger makes some voices louder, others higher), and its offset in a neutral voice.
        self.gains = random.lognormal(-0.03, 0.3, len(CUES))
        self.habits = random.normal(0, 0.5, len(CUES)) * CUE_SPREAD


@dataclass(frozen=True)
class Articulation:
    """Articulation of a sentence, with one value (or row) per hop."""

    formants: Floats  # (hops, 5), Hz
    voicing: Floats
    noise: Floats
    noise_centre: Floats  # Hz
    pitch: Floats  # Hz


def _voice_cues(performance: Performance, speaker: Speaker, seed: int) -> dict[str, float]:
    table = np.array([CUES_BY_EMOTION[emotion] for emotion in EMOTIONS])
    chance = random_stream(seed, performance, "voice cues").normal(0, 1, len(CUES)) * CUE_SPREAD
    cues = speaker.gains * (shown_emotions(performance, seed) @ table) + speaker.habits + chance
    return dict(zip(CUES, cues.tolist(), strict=True))


def synthesize_voice(performance: Performance, seed: int) -> Floats:
    """Synthesize a spoken or sung clip: silence, the sentence, silence; (samples,) float32 in [-1, 1] at 48 kHz.

    It lasts 2.94 to 5.27 s, a whole number of video frames.
    """
    speaker = Speaker(performance.actor, seed)
    cues = _voice_cues(performance, speaker, seed)
    random = random_stream(seed, performance, "voice")
    articulation = _articulate(performance, speaker, cues, random)
    sentence = _filter(articulation, *_source(articulation, speaker, cues, random), cues)
    sentence *= 10 ** ((-40 + cues["energy"]) / 20) / np.sqrt(np.mean(sentence**2))

    before, after = random.uniform(0.65, 0.85), random.uniform(0.45, 0.6)  # seconds
    seconds = np.clip(before + len(sentence) / SAMPLE_RATE + after, 2.95, 5.25)
    samples = round(round(seconds / VIDEO_FRAME) * VIDEO_FRAME * SAMPLE_RATE)
    waveform = random.normal(0, 10 ** (random.uniform(-98, -88) / 20), samples)  # a quiet room
    start = round(before * SAMPLE_RATE)
    waveform[start : start + len(sentence)] += sentence[: samples - start]
    return (waveform / max(1.0, np.abs(waveform).max() / 0.99)).astype(np.float32)


def _articulate(
    performance: Performance, speaker: Speaker, cues: dict[str, float], random: np.random.Generator
) -> Articulation:
    sounds = [SOUNDS[name] for name in STATEMENTS[performance.statement]]
    sustain = SUSTAIN if performance.sung else 1.0
    durations = np.array([sound.duration * (sustain if sound.held else 1.0) for sound in sounds])
    durations *= 2 ** -cues["tempo"] * random.lognormal(0, 0.08, len(sounds))
    ends = np.cumsum(durations)
    times = np.arange(0, ends[-1], HOP / SAMPLE_RATE)
    # Formants are constant in the middle half of each sound and interpolated between sounds.
    anchors = np.stack([ends - 0.75 * durations, ends - 0.25 * durations], axis=1).ravel()

    def track(values: list[float] | list[int], outside: float | None = None) -> Floats:
        return np.interp(times, anchors, np.repeat(values, 2), left=outside, right=outside)

    formants = [track([sound.formants[index] for sound in sounds]) for index in range(3)]
    formants += [np.full(len(times), 3500.0), np.full(len(times), 4500.0)]
    notes = np.searchsorted(ends[[sound.held for sound in sounds]], times)
    return Articulation(
        formants=np.stack(formants, axis=1) * speaker.tract,
        voicing=track([sound.voicing for sound in sounds], outside=0.0),
        noise=track([sound.noise for sound in sounds], outside=0.0),
        noise_centre=track([sound.noise_centre for sound in sounds]),
        pitch=speaker.pitch * 2 ** (_melody(times, notes if performance.sung else None, cues, random) / 12),
    )


def _melody(times: Floats, notes: np.ndarray | None, cues: dict[str, float], random: np.random.Generator) -> Floats:
    """Return the pitch over time in semitones above the speaker's own; `notes` are the note indices of a song."""
    progress = times / times[-1]
    span = 2 ** cues["range"]
    if notes is None:
        accents = 2.0 * np.exp(-(((progress[:, None] - (0.08, 0.38, 0.85)) / 0.07) ** 2)) @ random.uniform(0.6, 1.4, 3)
        melody = span * (1.5 - 3.0 * progress + accents)
    else:
        sung = MELODY[notes % len(MELODY)].astype(float)
        vibrato = 0.4 * np.sin(2 * np.pi * random.uniform(5.0, 6.0) * times)
        melody = np.convolve(np.pad(sung, 3, mode="edge"), np.ones(7) / 7, "valid") * span**0.3 + vibrato
    ending = np.clip((progress - 0.75) / 0.25, 0, 1) ** 1.5 * cues["rise"]
    tremor = 0.9 * max(cues["tremor"], 0) * np.sin(2 * np.pi * random.uniform(6.0, 8.0) * times + random.uniform(0, 6))
    jitter = random.normal(0, 0.15, len(times))
    return cues["pitch"] + melody + ending + tremor + jitter


def _pulse_shape(points: int = 4096, opening: float = 0.42, closing: float = 0.16) -> tuple[Floats, Floats]:
    """Return one period of the glottal flow (0 to 1) and of its derivative (unit power), after Rosenberg (1971)."""
    phase = np.arange(points) / points
    rise = 0.5 * (1 - np.cos(np.pi * phase / opening))
    fall = np.cos(0.5 * np.pi * (phase - opening) / closing)
    flow = np.where(phase < opening, rise, np.where(phase < opening + closing, fall, 0.0))
    derivative = np.gradient(flow)
    derivative -= derivative.mean()
    return flow, derivative / derivative.std()


FLOW, PULSE = _pulse_shape()


def _source(
    articulation: Articulation, speaker: Speaker, cues: dict[str, float], random: np.random.Generator
) -> tuple[Floats, Floats]:
    """Return the glottal source and the frication noise, at 48 kHz."""
    hops = len(articulation.pitch)
    samples = np.arange(hops * HOP)

    def upsample(track: Floats) -> Floats:
        return np.interp(samples, np.arange(hops) * HOP, track)

    phase = np.cumsum(upsample(articulation.pitch)) / SAMPLE_RATE
    position = (phase % 1.0 * len(PULSE)).astype(np.int64)
    shimmer = random.lognormal(0, 0.1 + 0.25 * max(cues["tremor"], 0), hops)
    noise = random.standard_normal(len(samples))
    breath = 0.5 * max(speaker.breath + 0.5 * cues["breath"], 0.02)
    glottis = upsample(articulation.voicing * shimmer) * (PULSE[position] + breath * FLOW[position] * noise)
    return glottis, upsample(articulation.noise) * noise


def _filter(articulation: Articulation, glottis: Floats, noise: Floats, cues: dict[str, float]) -> Floats:
    """Filter both sources by the vocal tract, window by window."""
    frequencies = np.fft.rfftfreq(FFT_SIZE, 1 / SAMPLE_RATE)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)  # half-overlapping windows add up to one

    def spectra(signal: Floats) -> np.ndarray:
        padded = np.pad(signal, (HOP, HOP - 1))
        return np.fft.rfft(np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP] * window, FFT_SIZE)

    voiced = frequencies < FORMANT_RATE / 2
    spectrum = np.zeros((len(articulation.pitch), len(frequencies)), dtype=np.complex128)
    tilt = 10 ** (cues["tilt"] / 20 * np.log2(np.maximum(frequencies[voiced], 100) / 500))
    fade = np.clip((FORMANT_RATE / 2 - frequencies[voiced]) / 800, 0, 1)
    spectrum[:, voiced] = spectra(glottis)[:, voiced] * _formant_response(articulation.formants, frequencies[voiced])
    spectrum[:, voiced] *= tilt * fade
    octaves = np.log2(np.maximum(frequencies, 20) / articulation.noise_centre[:, None])
    spectrum += spectra(noise) * np.exp(-((octaves / 0.6) ** 2))

    blocks = np.fft.irfft(spectrum).reshape(len(spectrum), FFT_SIZE // HOP, HOP)
    output = np.zeros((len(spectrum) + FFT_SIZE // HOP, HOP))
    for index in range(FFT_SIZE // HOP):
        output[index : index + len(spectrum)] += blocks[:, index]
    return output[1:].ravel()


def _formant_response(formants: Floats, frequencies: Floats) -> np.ndarray:
    """Return the response `(hops, frequencies)` of resonators in series, after Klatt (1980)."""
    turn = np.exp(-2j * np.pi * frequencies / FORMANT_RATE)
    response = np.ones((len(formants), len(frequencies)), dtype=np.complex128)
    for formant in formants.T:
        radius = np.exp(-np.pi * (50 + 0.06 * formant) / FORMANT_RATE)[:, None]
        b = 2 * radius * np.cos(2 * np.pi * formant[:, None] / FORMANT_RATE)
        c = -(radius**2)
        response *= (1 - b - c) / (1 - b * turn - c * turn**2)
    return response
