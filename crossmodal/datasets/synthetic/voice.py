"""Synthesis of a voice: harmonics of a moving pitch, shaped by moving formants, and noise for breath and consonants."""

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


# Formants in Hz of the vowels in RAVDESS's statements, "Kids are talking by the door", "Dogs are sitting by the door".
VOWELS = {
    "ih": (400, 1950, 2550),
    "ah": (620, 1200, 2500),
    "aa": (720, 1150, 2450),
    "ao": (580, 900, 2450),
    "ay": (500, 1700, 2700),
}
STATEMENTS = {1: ("ih", "aa", "ao", "ih", "ay", "ah", "ao"), 2: ("ao", "aa", "ih", "ih", "ay", "ah", "ao")}
CONSONANT, VOWEL = 0.09, 0.15  # seconds
MELODY = np.array([0, 2, 4, 0, 2, 4, 5, 2, 0])  # notes of a song, in semitones
SUSTAIN = 2.3  # factor on the duration of vowels in song

HOP = 480  # samples between the values of pitch and formants: 10 ms
HIGHEST = 5500  # Hz, of the harmonics


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
    sentence = _pronounce(performance, speaker, cues, random)
    sentence *= 10 ** ((-40 + cues["energy"]) / 20) / np.sqrt(np.mean(sentence**2))

    before, after = random.uniform(0.65, 0.85), random.uniform(0.45, 0.6)  # seconds
    seconds = np.clip(before + len(sentence) / SAMPLE_RATE + after, 2.95, 5.25)
    samples = round(round(seconds / VIDEO_FRAME) * VIDEO_FRAME * SAMPLE_RATE)
    waveform = random.normal(0, 10 ** (random.uniform(-98, -88) / 20), samples)  # a quiet room
    start = round(before * SAMPLE_RATE)
    waveform[start : start + len(sentence)] += sentence[: samples - start]
    return (waveform / max(1.0, np.abs(waveform).max() / 0.99)).astype(np.float32)


def _pronounce(
    performance: Performance, speaker: Speaker, cues: dict[str, float], random: np.random.Generator
) -> Floats:
    """Return the sentence, each syllable a noisy consonant and a vowel."""
    vowels = STATEMENTS[performance.statement]
    lengths = np.tile([CONSONANT, VOWEL * (SUSTAIN if performance.sung else 1.0)], len(vowels))
    lengths *= 2 ** -cues["tempo"] * random.lognormal(0, 0.08, len(lengths))
    ends = np.cumsum(lengths)
    times = np.arange(0, ends[-1], HOP / SAMPLE_RATE)
    # Constant in the middle half of each sound and interpolated between sounds.
    anchors = np.stack([ends - 0.75 * lengths, ends - 0.25 * lengths], axis=1).ravel()
    voicing = np.interp(times, anchors, np.tile([0.15, 0.15, 1.0, 1.0], len(vowels)), left=0.0, right=0.0)
    middles = (ends - lengths / 2)[1::2]
    formants = [np.interp(times, middles, values) for values in zip(*map(VOWELS.__getitem__, vowels), strict=True)]
    notes = np.searchsorted(ends[1::2], times) if performance.sung else None
    pitch = speaker.pitch * 2 ** (_melody(times, notes, cues, random) / 12)
    shimmer = random.lognormal(0, 0.1 + 0.25 * max(cues["tremor"], 0), len(times))
    voice = _sing(pitch, np.array(formants).T * speaker.tract, voicing * shimmer, cues["tilt"])
    breath = 0.15 * max(speaker.breath + 0.5 * cues["breath"], 0.02) * voicing
    noise = np.diff(random.standard_normal(len(voice) + 1))
    return voice + noise * _upsample(breath + 0.1 * (1 - voicing) * (voicing > 0))


def _sing(pitch: Floats, formants: Floats, voicing: Floats, tilt: float) -> Floats:
    """Return the sum of harmonics; pitch in Hz and voicing are (hops,), formants (hops, 3), tilt in dB per octave."""
    fundamental = np.exp(2j * np.pi * np.cumsum(_upsample(pitch)) / SAMPLE_RATE)
    harmonic, samples = np.ones_like(fundamental), np.zeros(len(fundamental))
    for number in range(1, int(HIGHEST / pitch.min()) + 1):
        frequency = number * pitch
        resonances = 1 / (1 + ((frequency[:, None] - formants) / (40 + 0.05 * formants)) ** 2)
        level = 10 ** ((tilt - 6) * np.log2(np.maximum(frequency, 100) / 500) / 20)
        level = level * (resonances @ (1.0, 0.8, 0.6) + 0.03) * (frequency < HIGHEST)
        harmonic *= fundamental  # several times as fast as a sine of the phase
        samples += _upsample(voicing * level) * harmonic.imag
    return samples


def _upsample(track: Floats) -> Floats:
    """Interpolate the values of hops to samples."""
    return np.interp(np.arange(len(track) * HOP) / HOP, np.arange(len(track)), track)


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
