import json
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from crossmodal.datasets.ravdess import FACE_BOX, index_ravdess, parse_name
from crossmodal.datasets.synthetic import SYNTHETIC_MARKER, corpus, synthesize
from crossmodal.datasets.synthetic.action_units import UNITS, action_units
from crossmodal.datasets.synthetic.corpus import list_performances
from crossmodal.datasets.synthetic.face import Look, draw_face
from crossmodal.datasets.synthetic.performance import EMOTIONS, Performance, shown_emotions
from crossmodal.datasets.synthetic.voice import synthesize_voice
from crossmodal.errors import ConfigError

# Neutral and strongly angry speech of a man, surprised speech and a song of a woman: channel, emotion, intensity,
# statement, repetition, actor.
FEW = [
    Performance(1, 1, 1, 1, 1, 1),
    Performance(1, 5, 2, 2, 1, 1),
    Performance(1, 8, 1, 1, 1, 2),
    Performance(2, 3, 1, 1, 1, 2),
]


def synthesize_few(root: Path, performances: list[Performance] = FEW, **settings) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "list_performances", lambda actors, channel, repetitions: performances)
        return synthesize(root, **{"channel": "both", "resolution": (160, 90), "num_processes": 1, **settings})


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return synthesize_few(tmp_path_factory.mktemp("synthetic") / "corpus", video_only=True)


def media(root: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(root.rglob("*-*.*")) if path.suffix in (".wav", ".mp4")}


def decode_video(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def decode_sound(path: Path) -> np.ndarray:
    """Return the sound from time 0, with each audio frame at its time."""
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
    sound = np.zeros(max(frame.pts + frame.samples for frame in frames), np.float32)
    for frame in frames:
        sound[frame.pts : frame.pts + frame.samples] = frame.to_ndarray()[0]
    return sound


def test_performances_match_ravdess():
    speech, song = list_performances(24, "speech", 2), list_performances(24, "song", 2)
    assert (len(speech), len(song)) == (1440, 1012)
    assert list_performances(24, "both", 2) == speech + song
    assert len(list_performances(16, "speech", 1)) == 480
    names = {str(performance) for performance in speech + song}
    assert len(names) == 2452
    assert all(parse_name(f"03-{name}.wav").clip == name for name in names)
    assert not any(performance.actor == 18 for performance in song)


def test_layout_is_that_of_the_extracted_zips(root):
    for name in (
        "Audio_Speech_Actors_01-24/Actor_01/03-01-01-01-01-01-01.wav",
        "Video_Speech_Actor_01/Actor_01/01-01-01-01-01-01-01.mp4",
        "Audio_Song_Actors_01-24/Actor_02/03-02-03-01-01-01-02.wav",
        "Video_Song_Actor_02/Actor_02/02-02-03-01-01-01-02.mp4",
    ):
        assert (root / name).is_file()
    assert len(media(root)) == 3 * len(FEW)
    assert not list(root.rglob("*.tmp"))
    index = index_ravdess(root, "both")
    assert {clip.clip for clip in index.clips} == {str(performance) for performance in FEW}
    assert all(clip.audio and clip.video for clip in index.clips)
    assert not index.excluded
    assert json.loads((root / SYNTHETIC_MARKER).read_text())["kind"] == "synthetic"


def test_formats_are_those_of_ravdess(root):
    for name, path in media(root).items():
        if path.suffix == ".wav":
            info = soundfile.info(path)
            assert (info.samplerate, info.subtype, info.channels) == (48_000, "PCM_16", 1)
            assert 2.93 < info.duration < 5.3
            continue
        wav = soundfile.info(media(root)["03" + name[2:]])
        with av.open(str(path)) as container:
            video, audio = container.streams.video[0], container.streams.audio[0]
            assert (video.codec_context.name, video.codec_context.pix_fmt) == ("h264", "yuv420p")
            assert (video.width, video.height, video.average_rate) == (160, 90, corpus.FRAME_RATE)
            assert (audio.codec_context.name, audio.rate) == ("aac", 48_000)
        assert len(decode_video(path)) == round(wav.duration * corpus.FRAME_RATE)


def test_sound_of_the_video_is_delayed_by_a_thirtieth_of_a_second(root):
    for performance in FEW:
        wav, _ = soundfile.read(media(root)[f"03-{performance}"], dtype="float32")
        sound = decode_sound(media(root)[f"01-{performance}"])
        size = 2 * max(len(wav), len(sound))
        correlation = np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(wav, size).conj())
        assert correlation.argmax() / 48_000 == pytest.approx(1001 / 30_000, abs=0.005)


def test_video_only_has_the_same_pictures_and_silence(root):
    both, video = media(root)[f"01-{FEW[1]}"], media(root)[f"02-{FEW[1]}"]
    np.testing.assert_array_equal(decode_video(both), decode_video(video))
    assert np.abs(decode_sound(both)).max() > 0.01
    assert np.abs(decode_sound(video)).max() == 0


def test_corpus_does_not_depend_on_the_number_of_processes(root, tmp_path, child_processes):
    again = media(synthesize_few(tmp_path, FEW[:2], num_processes=2))
    for name, path in again.items():
        read = decode_video if path.suffix == ".mp4" else (lambda wav: soundfile.read(wav)[0])
        np.testing.assert_array_equal(read(path), read(media(root)[name]))


def test_seed_changes_actors_and_clips():
    performance = FEW[0]
    assert vars(Look(1, seed=0)) != vars(Look(1, seed=1))
    assert not np.array_equal(synthesize_voice(performance, 0)[:48_000], synthesize_voice(performance, 1)[:48_000])
    assert not np.array_equal(shown_emotions(performance, 0), shown_emotions(performance, 1))


def test_interrupted_run_resumes_and_missing_files_are_created(tmp_path, monkeypatch):
    make_clip = corpus._make_clip

    def fail_at_the_second(job):
        if job.performance == FEW[1]:
            raise KeyboardInterrupt
        make_clip(job)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(corpus, "_make_clip", fail_at_the_second)
        synthesize_few(tmp_path, FEW[:2])
    times = {path: path.stat().st_mtime_ns for path in media(tmp_path).values()}
    assert media(tmp_path).keys() == {f"01-{FEW[0]}", f"03-{FEW[0]}"}
    synthesize_few(tmp_path, FEW[:2])
    assert {path: path.stat().st_mtime_ns for path in times} == times

    wav = media(tmp_path)[f"03-{FEW[0]}"]
    content = wav.read_bytes()
    wav.unlink()
    synthesize_few(tmp_path, FEW[:2], video_only=True)
    assert wav.read_bytes() == content
    assert len(media(tmp_path)) == 6


@pytest.mark.parametrize("settings", [{"seed": 1}, {"resolution": (320, 180)}])
def test_folder_with_other_recordings_is_rejected(root, tmp_path, settings):
    before = media(root)
    with pytest.raises(ConfigError, match=next(iter(settings))):
        synthesize_few(root, **settings)
    assert media(root) == before
    (tmp_path / "03-01-01-01-01-01-01.wav").touch()
    with pytest.raises(ConfigError, match="real recordings"):
        synthesize(tmp_path, **settings)
    assert not (tmp_path / SYNTHETIC_MARKER).exists()


INVALID = {"channel": "sung", "repetitions": 3, "resolution": (321, 180), "num_processes": 0}


@pytest.mark.parametrize(("name", "value"), [("actors", 0), ("actors", 25), *INVALID.items()])
def test_invalid_settings_are_rejected(tmp_path, name, value):
    with pytest.raises(ConfigError, match=name):
        synthesize(tmp_path / "corpus", **{name: value})
    assert not (tmp_path / "corpus").exists()


@pytest.mark.parametrize("emotion", [4, 6])  # the slowest and the fastest
@pytest.mark.parametrize("channel", [1, 2])
def test_duration_of_voices(channel, emotion):
    for actor in range(1, 13):
        waveform = synthesize_voice(Performance(channel, emotion, 2, 1, 1, actor), seed=0)
        assert 2.93 < len(waveform) / 48_000 < 5.28
        assert np.abs(waveform).max() < 1


def test_women_have_a_higher_pitch_than_men():
    def pitch(actor: int) -> float:
        waveform = synthesize_voice(Performance(1, 1, 1, 1, 1, actor), seed=0)
        vowel = waveform[waveform.size // 4 : 3 * waveform.size // 4]
        autocorrelation = np.fft.irfft(np.abs(np.fft.rfft(vowel, 2 * len(vowel))) ** 2)
        return 48_000 / (120 + autocorrelation[120:800].argmax())

    assert np.median([pitch(actor) for actor in range(2, 17, 2)]) > 1.4 * np.median([pitch(a) for a in range(1, 17, 2)])


def test_action_units_separate_emotions():
    clips = list_performances(8, "speech", 1)
    means = np.stack([action_units(clip, seed=0, loudness=np.zeros(90)).mean(axis=0) for clip in clips])
    labels = np.array([clip.emotion for clip in clips])
    centres = np.stack([means[labels == label].mean(axis=0) for label in range(1, 9)])
    within = np.linalg.norm(means - centres[labels - 1], axis=1).mean()
    between = np.linalg.norm(centres[:, None] - centres, axis=-1)[np.triu_indices(8, 1)]
    assert between.mean() > 1.2 * within
    assert EMOTIONS[:2] == ("neutral", "calm")
    assert between.argmin() == 0  # their distance, the first pair


def test_expression_rises_and_falls_and_the_jaw_follows_the_voice():
    happy = Performance(1, 3, 2, 1, 1, 3)
    silent = action_units(happy, seed=0, loudness=np.zeros(90))
    smile = silent[:, UNITS.index("corner_pull")]
    assert smile[40:60].mean() > 2 * max(smile[0], smile[-1])
    spoken = action_units(happy, seed=0, loudness=np.linspace(0, 1, 90))
    jaw = UNITS.index("jaw_drop")
    assert (spoken - silent)[-1, jaw] > 0.3


@pytest.mark.parametrize("resolution", [(320, 180), (1280, 720)])
def test_position_of_the_head_matches_ravdess(resolution):
    tracks = np.zeros((1, len(UNITS)))
    for actor in range(1, 7):
        picture = next(draw_face(Look(actor, seed=0), tracks, resolution))
        assert picture.shape == (resolution[1], resolution[0], 3)
        drawn = np.argwhere((picture < 240).any(axis=-1)) / (resolution[1], resolution[0])
        head = drawn[drawn[:, 0] < 0.6]
        assert head[:, 0].min() == pytest.approx(0.04, abs=0.03)
        assert FACE_BOX[0] < head[:, 1].min() < head[:, 1].max() < FACE_BOX[2]


@pytest.mark.slow
def test_emotions_overlap_and_faces_are_easier_than_voices():
    """Simple models on unseen actors are far above chance and below 100 %, and better on faces than on voices."""
    from librosa.filters import mel
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import recall_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    bank = mel(sr=48_000, n_fft=2048, n_mels=64, fmax=8000)
    voices, faces = [], []
    clips = list_performances(16, "speech", 1)
    for clip in clips:
        waveform = synthesize_voice(clip, seed=0)
        windows = np.lib.stride_tricks.sliding_window_view(waveform, 1200)[::480] * np.hanning(1200)
        log_mel = np.log(np.abs(np.fft.rfft(windows, 2048)) ** 2 @ bank.T + 1e-7)
        voices.append(np.concatenate([log_mel.mean(axis=0), log_mel.std(axis=0)]))
        faces.append(action_units(clip, 0, corpus._loudness(waveform)).mean(axis=0))
    labels, actors = np.array([(clip.emotion, clip.actor) for clip in clips]).T

    def unweighted_average_recall(features: np.ndarray) -> float:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
        recalls = []
        for test in (actors > 8, actors <= 8):
            predicted = model.fit(features[~test], labels[~test]).predict(features[test])
            recalls.append(recall_score(labels[test], predicted, average="macro"))
        return float(np.mean(recalls))

    assert 0.40 < unweighted_average_recall(np.array(voices)) < 0.60
    assert 0.65 < unweighted_average_recall(np.array(faces)) < 0.85
