import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossmodal.datasets.ravdess import MP4_SOUND_DELAY, index_ravdess, parse_name
from crossmodal.errors import CorpusNotFoundError

RAVDESS_NAME = re.compile(r"0[123]-0[12]-0[1-8]-0[12]-0[12]-0[12]-(0[1-9]|1[0-9]|2[0-4])", re.ASCII)

NAMES = ["01-01-01-01-01-01-01.mp4", "02-01-01-01-01-01-01.mp4", "03-01-01-01-01-01-01.wav"]
NAMES += ["03-01-08-02-02-02-24.wav", "03-02-06-01-02-01-02.wav", "01-02-06-01-02-01-02.mp4"]


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def zenodo(name: str) -> str:
    modality, channel, *_, actor = Path(name).stem.split("-")
    kind = {"01": "Speech", "02": "Song"}[channel]
    archive = f"Audio_{kind}_Actors_01-24" if modality == "03" else f"Video_{kind}_Actor_{actor}"
    return f"{archive}/Actor_{actor}/{name}"


LAYOUTS = {
    "zenodo": zenodo,
    "flat": lambda name: name,
    "actors": lambda name: f"Actor_{Path(name).stem[-2:]}/{name}",
    "kaggle": lambda name: f"{['speech', 'song'][name[4] == '2']}/audio_or_video/actor/{name}",
    "upper case": lambda name: f"{Path(name).stem}{Path(name).suffix.upper()}",
}


@given(st.text() | st.from_regex(r"\A(0\d-){6}\d\d\Z") | st.from_regex(r"\A(0[123]-){6}[0-2]\d(\.[a-z]{3})?\Z"))
def test_any_other_string_raises_value_error(name):
    if RAVDESS_NAME.fullmatch(Path(name).stem):
        parsed = parse_name(name)
        assert "-".join(parsed) == Path(name).stem == f"{parsed.modality}-{parsed.clip}"
    else:
        with pytest.raises(ValueError, match="RAVDESS"):
            parse_name(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("notes.wav", "7 fields .* 1 "),
        ("03-01-06-01-02-01-12-01.wav", "7 fields .* 8 "),
        ("04-01-06-01-02-01-12.wav", "modality '04'"),
        ("03-03-06-01-02-01-12.wav", "channel '03'"),
        ("03-01-09-01-02-01-12.wav", "emotion '09'"),
        ("03-01-06-03-02-01-12.wav", "intensity '03'"),
        ("03-01-06-01-00-01-12.wav", "statement '00'"),
        ("03-01-06-01-02-1-12.wav", "repetition '1'"),
        ("03-01-06-01-02-01-25.wav", "actor '25'"),
    ],
)
def test_error_names_the_invalid_field(name, message):
    with pytest.raises(ValueError, match=message):
        parse_name(name)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_every_layout_gives_the_same_clips(tmp_path, layout):
    touch(tmp_path, *map(layout, NAMES))
    indices = {channel: index_ravdess(tmp_path, channel) for channel in ("both", "speech", "song")}
    found = [(clip.clip, clip.actor, clip.label, clip.channel) for clip in indices["both"].clips]
    assert found == [
        ("01-01-01-01-01-01", "01", "neutral", "speech"),
        ("01-08-02-02-02-24", "24", "surprised", "speech"),
        ("02-06-01-02-01-02", "02", "fearful", "song"),
    ]
    assert (indices["speech"].clips, indices["song"].clips) == (indices["both"].clips[:2], indices["both"].clips[2:])
    assert indices["both"].excluded == []


@pytest.mark.parametrize(
    ("modalities", "audio", "video", "audio_start"),
    [
        (["01", "02", "03"], "03", "01", 0.0),
        (["01", "03"], "03", "01", 0.0),
        (["02", "03"], "03", "02", 0.0),
        (["01", "02"], "01", "01", 1 / 30),
        (["01"], "01", "01", 1 / 30),
        (["03"], "03", None, 0.0),
        (["02"], None, "02", None),  # the sound of an 02 file is silence
    ],
)
def test_sound_and_face_come_from_the_best_file_on_one_time_base(tmp_path, modalities, audio, video, audio_start):
    for modality in modalities:
        touch(tmp_path, f"{modality}-01-05-01-01-01-07.{'wav' if modality == '03' else 'mp4'}")
    touch(tmp_path, "01-01-05-01-01-02-07.mp4")  # another performance
    clip, other = index_ravdess(tmp_path).clips
    assert other.audio == other.video == tmp_path / "01-01-05-01-01-02-07.mp4"
    assert (clip.audio and clip.audio.name[:2], clip.video and clip.video.name[:2]) == (audio, video)
    assert clip.video_start == 0.0
    if audio is not None:
        assert clip.audio_start == pytest.approx(audio_start)
    assert pytest.approx(0.0333, abs=1e-4) == MP4_SOUND_DELAY


@pytest.mark.parametrize(
    ("files", "audio", "video", "unused"),
    [
        (["01.wav", "01.mp4"], "01.mp4", "01.mp4", ["01.wav"]),
        (["01.wav", "03.wav", "01.mp4"], "03.wav", "01.mp4", ["01.wav"]),
        (["01.wav", "03.wav"], "03.wav", None, ["01.wav"]),
        (["01.wav", "02.mp4"], "01.wav", "02.mp4", []),
        (["01.wav"], "01.wav", None, []),
        (["02.wav", "02.mp4"], None, "02.mp4", ["02.wav"]),
        (["02.wav", "01.mp4"], "01.mp4", "01.mp4", ["02.wav"]),
        (["03.mp4", "03.wav"], "03.wav", None, ["03.mp4"]),
    ],
)
@pytest.mark.parametrize("is_first", [False, True], ids=["wav last", "wav first"])
def test_wav_extracted_from_a_video_is_never_a_face_and_a_clip_has_one_voice(
    tmp_path, files, audio, video, unused, is_first
):
    for modality, suffix in (file.split(".") for file in files):
        folder = "b" if (suffix == "wav") != is_first else "c"
        touch(tmp_path, f"{folder}/{modality}-01-05-01-01-01-07.{suffix}", "a/03-01-05-01-01-02-07.wav")
    index = index_ravdess(tmp_path)
    clip, _ = index.clips

    def kind(path):
        return path and f"{path.name[:2]}{path.suffix}"

    assert (kind(clip.audio), kind(clip.video)) == (audio, video)
    assert clip.audio_start == pytest.approx(0.0 if audio and audio.startswith("03") else 1 / 30)
    assert [kind(Path(one.what)) for one in index.excluded] == unused


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege")
def test_linked_folders_are_searched_once(tmp_path):
    root = touch(tmp_path / "root", "Actor_07/03-01-05-01-01-01-07.wav")
    touch(tmp_path / "disk", "Actor_08/03-01-05-01-01-01-08.wav")
    for name, target in {"Actor_08": tmp_path / "disk/Actor_08", "all": tmp_path / "disk", "loop": root}.items():
        (root / name).symlink_to(target)
    index = index_ravdess(root)
    assert [clip.actor for clip in index.clips] == ["07", "08"]
    assert index.excluded == []


def test_second_copy_is_excluded(tmp_path):
    first, second = (f"{folder}/03-01-05-01-01-01-07.wav" for folder in "ab")
    index = index_ravdess(touch(tmp_path, first, second))
    assert [clip.audio for clip in index.clips] == [tmp_path / first]
    (aside,) = index.excluded
    assert aside.what == str(tmp_path / second)
    assert str(tmp_path / first) in aside.reason


def test_files_with_other_names_are_excluded_and_metadata_of_macos_is_ignored(tmp_path):
    metadata = (f"._{NAMES[2]}", f"__MACOSX/Actor_01/{NAMES[2]}", ".DS_Store")
    index = index_ravdess(touch(tmp_path, NAMES[2], "hello.wav", "03-01-09-01-01-01-01.wav", "notes.txt", *metadata))
    assert [clip.clip for clip in index.clips] == ["01-01-01-01-01-01"]
    reasons = {Path(aside.what).name: aside.reason for aside in index.excluded}
    assert reasons.keys() == {"hello.wav", "03-01-09-01-01-01-01.wav"}
    assert "emotion '09'" in reasons["03-01-09-01-01-01-01.wav"]


@pytest.mark.parametrize(
    ("names", "channel", "message"),
    [
        ([], "speech", r"RAVDESS speech clip in .*03-01-06-01-02-01-12\.wav.*zenodo"),
        (["Video_Speech_Actor_01.zip", "Audio_Speech_Actors_01-24.zip"], "speech", r"2 zip .*Audio_Speech_Actors"),
        (["a.wav", "b.mp4"], "both", r"2 file.*a\.wav"),
        ([NAMES[2]], "song", "RAVDESS song clip"),
    ],
)
def test_error_for_a_folder_without_clips(tmp_path, names, channel, message):
    with pytest.raises(CorpusNotFoundError, match=message):
        index_ravdess(touch(tmp_path, *names), channel)
    touch(tmp_path, "file")
    for name in ("nowhere", "file"):
        with pytest.raises(CorpusNotFoundError, match=rf"{name}.*--data\.root"):
            index_ravdess(tmp_path / name)
