"""Face crops with a detector, on drawn faces: the repository has no recordings of people."""

import dataclasses
import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crossmodal import media
from crossmodal.datasets import cache
from crossmodal.datasets.cache import prepare_corpus
from crossmodal.datasets.clip import Clip
from crossmodal.datasets.faces.crops import FaceCrops, read_face_crops
from crossmodal.datasets.stored_array import read_array
from crossmodal.datasets.synthetic.action_units import action_units
from crossmodal.datasets.synthetic.face import Look, draw_face
from crossmodal.datasets.synthetic.performance import Performance
from crossmodal.errors import ConfigError, MissingExtraError
from crossmodal.storage import hash_file
from tests.media.recordings import sine, write_video, write_wav

WIDTH, HEIGHT, FACE, NUM_PICTURES = 480, 270, 150, 60
HAAR = FaceCrops(num_video_frames=6, face_size=64, box=(0, 0, 1, 1), detector="haar")
MARK = (20, 240, 20)  # colour that the test's YuNet detects as a face
MARK_SIZE = 64


def positions() -> np.ndarray:
    """Return left and top of a face that moves from left to right and nods."""
    time = np.linspace(0, 1, NUM_PICTURES)
    return np.rint(np.stack([30 + 250 * time, 50 + 30 * np.sin(2 * np.pi * time)], axis=1)).astype(int)


def write_moving(path: Path, patch: np.ndarray) -> Path:
    background = np.random.default_rng(0).integers(90, 130, (HEIGHT // 10, WIDTH // 10, 3), np.uint8)
    pictures = np.stack([background.repeat(10, 0).repeat(10, 1)] * NUM_PICTURES)
    for picture, (left, top) in zip(pictures, positions(), strict=True):
        picture[top : top + len(patch), left : left + patch.shape[1]] = patch
    return write_video(path, pictures)


@pytest.fixture(scope="module")
def drawn_face() -> np.ndarray:
    """Return the picture of a face that looks ahead, (FACE, FACE, 3)."""
    tracks = action_units(Performance(1, 1, 1, 1, 1, 2), 0, np.zeros(4))
    picture = next(draw_face(Look(2, 0), tracks, (640, 360)))
    return np.asarray(Image.fromarray(picture[:, 140:500]).resize((FACE, FACE)))


@pytest.fixture(scope="module")
def moving(drawn_face, tmp_path_factory) -> Clip:
    path = write_moving(tmp_path_factory.mktemp("moving") / "face.mp4", drawn_face)
    return Clip("moving", "one", None, video=path)


def change(crops: np.ndarray) -> float:
    return float(np.abs(np.diff(crops.astype(float), axis=0)).mean())


def shift(one: np.ndarray, other: np.ndarray) -> tuple[int, int]:
    """Return the offset of the middle of one crop in another, in pixels down and to the right."""
    middle = one[:, 16:48, 16:48].astype(float)
    moves = [(down, right) for down in range(-15, 16) for right in range(-15, 16)]
    return min(moves, key=lambda by: np.abs(other[:, 16 + by[0] : 48 + by[0], 16 + by[1] : 48 + by[1]] - middle).sum())


class TestHaar:
    def test_crop_follows_the_face(self, moving, tmp_path):
        crops = read_array(prepare_corpus([moving], crops=HAAR, folder=tmp_path).faces["moving"])
        assert (crops.shape, crops.dtype) == ((6, 3, 64, 64), np.uint8)
        still = FaceCrops(6, 64, box=(0.2, 0.1, 0.2 + FACE / WIDTH, 0.1 + FACE / HEIGHT))
        assert change(crops) < change(read_face_crops(moving, moving.video, still)) / 4
        assert change(crops) > 0
        assert max(max(map(abs, shift(crops[0], crop))) for crop in crops[1:]) <= 5

    def test_detectors_have_different_keys(self, moving, yunet):
        keys = {
            crops: FaceCrops(6, 64, (0, 0, 1, 1), crops).settings(hash_file) for crops in (None, "haar", str(yunet))
        }
        assert "detector" not in keys[None]  # keeps the cache keys of versions without detectors
        assert keys["haar"]["detector"] == "haar"
        assert keys[str(yunet)]["detector"] == hash_file(yunet)
        assert "box" not in keys["haar"]
        decoders = [FaceCrops(6, 64, (0, 0, 1, 1), decoder=name).settings(hash_file) for name in ("pyav", "auto")]
        assert [settings.get("decoder") for settings in decoders] == [None, "auto"]

    def test_video_without_a_face_is_excluded(self, tmp_path):
        pictures = np.random.default_rng(0).integers(0, 255, (24, 45, 80, 3), np.uint8).repeat(4, 1).repeat(4, 2)
        clip = Clip("none", "one", None, video=write_video(tmp_path / "none.mp4", pictures))
        corpus = prepare_corpus([clip], crops=HAAR, folder=tmp_path / "cache")
        assert corpus.clips == []
        assert re.search(r"no face .* 6 video frames", corpus.excluded[0].reason)

    def test_segment_of_a_long_video(self, moving):
        half = NUM_PICTURES / 2 * 1001 / 30_000
        piece = Clip("piece", "one", None, video=moving.video, video_start=half, duration=half)
        crops = read_face_crops(piece, moving.video, HAAR)
        whole = read_face_crops(moving, moving.video, dataclasses.replace(HAAR, num_video_frames=12))
        assert np.abs(crops.astype(float) - whole[6:]).mean() < 12  # the same face, nearly as large


@pytest.fixture(scope="module")
def yunet(tmp_path_factory) -> Path:
    """Return the path of a network with YuNet's interface that detects a green square of 64 pixels as a face."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    weights, nodes, outputs = {}, [], []

    def node(kind: str, inputs: list[str], output: str, **attributes) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(name: str, value) -> str:
        weights[name] = numpy_helper.from_array(np.asarray(value), name)
        return name

    green = constant("green", np.float32([-0.5, 1, -0.5]).reshape(1, 3, 1, 1) / 200)  # B, G, R
    flat = constant("flat", np.int64([1, -1, 1]))
    zero = constant("zero", np.float32(0))
    one = constant("one", np.float32(1))
    how_green = node("Conv", ["input", green], "how_green")
    for stride in (8, 16, 32):
        around = (MARK_SIZE - stride) // 2  # a window as large as the mark around the middle of each cell
        sizes = {"kernel_shape": [MARK_SIZE] * 2, "strides": [stride] * 2, "pads": [around] * 4}
        mean = node("AveragePool", [how_green], f"mean_{stride}", **sizes)
        share = constant(f"share_{stride}", np.float32(stride == 16))
        score = node("Clip", [node("Mul", [mean, share], f"share_of_{stride}"), zero, one], f"score_{stride}")
        for kind in ("cls", "obj"):
            node("Reshape", [score, flat], f"{kind}_{stride}")
        values = {"bbox": [0.5, 0.5, *[math.log(MARK_SIZE / stride)] * 2], "kps": [0.5] * 10}
        for kind, bias in values.items():
            columns, bias = len(bias), np.float32(bias)
            nothing = constant(f"nothing_{kind}_{stride}", np.zeros((columns, 1, 1, 1), np.float32))
            always = node("Conv", [mean, nothing, constant(f"bias_{kind}_{stride}", bias)], f"map_{kind}_{stride}")
            last = node("Transpose", [always], f"last_{kind}_{stride}", perm=[0, 2, 3, 1])
            shape = constant(f"shape_{kind}_{stride}", np.int64([1, -1, columns]))
            node("Reshape", [last, shape], f"{kind}_{stride}")
        outputs += [f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps")]
    shapes = {"input": [1, 3, 320, 320]} | dict.fromkeys(outputs, ("batch", "anchors", "values"))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    graph = helper.make_graph(nodes, "yunet", ends[:1], ends[1:], list(weights.values()))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path = tmp_path_factory.mktemp("yunet") / "yunet.onnx"
    onnx.save(model, path)
    return path


class TestYuNet:
    def test_detects_its_target(self, yunet, tmp_path):
        patch = np.full((MARK_SIZE, MARK_SIZE, 3), MARK, np.uint8)
        path = write_moving(tmp_path / "mark.mp4", patch)
        clip = Clip("mark", "one", None, video=path)
        crops = read_face_crops(clip, path, FaceCrops(6, 64, (0, 0, 1, 1), str(yunet)))
        is_mark = (crops[:, 1] > 180) & (crops[:, 0] < 90)
        middles = [np.argwhere(mark).mean(axis=0) for mark in is_mark]
        assert np.abs(np.array(middles) - 31.5).max() < 10  # its resolution is 8 pixels
        assert (is_mark.mean(axis=(1, 2)) > 0.3).all()


def test_unavailable_detectors(moving, tmp_path, monkeypatch):
    (tmp_path / "text.onnx").write_bytes(b"not a network")
    for detector, message in ((str(tmp_path / "text.onnx"), "YuNet"), ("harr", r"harr.*'haar'")):
        with pytest.raises(ConfigError, match=message):
            prepare_corpus([moving], crops=FaceCrops(6, 64, (0, 0, 1, 1), detector), folder=tmp_path)
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'crossmodal\[face\]'"):
        prepare_corpus([moving], crops=HAAR, folder=tmp_path)


class TestWindow:
    """Sound and face of a clip cover the same time."""

    def prepare(self, tmp_path: Path, sound_lasts: float, **kwargs) -> cache.PreparedCorpus:
        shades = 2 * np.arange(120, dtype=np.uint8)
        pictures = np.broadcast_to(shades[:, None, None, None], (120, 48, 64, 3))
        video = write_video(tmp_path / "a.mp4", pictures)  # 4.004 s
        wav = write_wav(tmp_path / "a.wav", sine(300, sound_lasts, 16_000))
        clip = Clip("a", "one", None, audio=wav, video=video, **kwargs)
        return prepare_corpus([clip], crops=FaceCrops(4, 16, (0, 0, 1, 1)), folder=tmp_path / "cache")

    @pytest.mark.parametrize(
        ("sound_lasts", "start", "duration", "expected"),
        [
            (2.0, 0.0, None, [0.25, 0.75, 1.25, 1.75]),
            (3.0, 0.0, None, [0.375, 1.125, 1.875, 2.625]),
            (4.0, 1.0, 2.0, [1.25, 1.75, 2.25, 2.75]),  # a segment
        ],
    )
    def test_face_crops_cover_the_sound(self, tmp_path, sound_lasts, start, duration, expected):
        corpus = self.prepare(tmp_path, sound_lasts, audio_start=start, video_start=start, duration=duration)
        assert len(read_array(corpus.waveforms["a"])) == 16_000 * (duration or sound_lasts)
        crops = read_array(corpus.faces["a"])
        np.testing.assert_allclose(crops.mean(axis=(1, 2, 3)) / 2 * 1001 / 30_000, expected, atol=0.04)
        assert self.prepare(tmp_path, 3.5).faces != corpus.faces  # the array depends on the sound

    def test_video_shorter_than_the_sound_is_excluded(self, tmp_path):
        corpus = self.prepare(tmp_path, 6.0)
        assert corpus.clips == []
        assert corpus.waveforms.keys() == {"a"}
        assert re.search(r"4\.00 s.*6\.00 s", corpus.excluded[0].reason)

    def test_face_crops_cover_the_video_if_the_sound_is_damaged(self, tmp_path):
        (tmp_path / "a.wav").write_bytes(b"no sound")
        video = write_video(tmp_path / "a.mp4", np.zeros((30, 48, 64, 3), np.uint8))
        clip = Clip("a", "one", None, audio=tmp_path / "a.wav", video=video)
        assert read_face_crops(clip, video, FaceCrops(4, 16, (0, 0, 1, 1))).shape == (4, 3, 16, 16)
        assert media.probe_video(video).duration == pytest.approx(1.001)
