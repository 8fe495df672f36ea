"""Arguments of the datamodules, in groups; the constructor of a datamodule takes all of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from crossmodal.datasets.cache import FaceCrops
from crossmodal.datasets.clip import Clip, Split
from crossmodal.datasets.complete_clips import MAX_DURATION
from crossmodal.datasets.ravdess import Channel
from crossmodal.datasets.source import CorpusSource, ManifestSource, RavdessSource
from crossmodal.datasets.splits.own_protocol import name_of_protocol
from crossmodal.datasets.splits.protocols import NUM_FOLDS, LabelSet, Protocol, label_set_for, split_clips
from crossmodal.datasets.stream.reader import open_stream
from crossmodal.datasets.synthetic.corpus import VERSION as SYNTHETIC_VERSION
from crossmodal.errors import ConfigError
from crossmodal.media import Box, VideoDecoder
from crossmodal.naming import Part
from crossmodal.storage import cache_dir

CORPORA = ("root", "manifest", "stream", "corpus")  # arguments that select a corpus


@dataclass(eq=False, repr=False)
class CorpusSettings:
    """Selection of the corpus. Without root, manifest or stream, it is the built-in synthetic corpus.

    Args:
        root: Folder of the extracted RAVDESS files.
        manifest: Table of another corpus of paired recordings: CSV or Parquet with one row per clip; see
            `crossmodal.datasets.index_manifest`.
        stream: Folder or URL of a corpus written by ``crossmodal data prepare --to litdata``. Needs the extra
            ``stream``.
        allow_outside_paths: Whether the files of a manifest may be outside of its folder.
        channel: Channel of RAVDESS: ``speech``, ``song`` or ``both``.
        label_set: Label set of RAVDESS: ``speech8``, ``song6``, ``speech6`` (the song classes, clips matched to song)
            or ``both8``; the default depends on the channel. The labels of a manifest are those that occur in it.
        corpus: Corpus of your own: a class path, ``{class_path, init_args}``, or a subclass or an object of
            `crossmodal.datasets.CorpusSource`.
        max_duration: Longest duration in seconds; longer clips are excluded, because they determine the batch length.
        cache: Folder of decoded data; the default is ``$CROSSMODAL_CACHE`` or the user's cache folder.
    """

    root: str | None = None
    manifest: str | None = None
    stream: str | None = None
    allow_outside_paths: bool = False
    channel: Channel = "speech"
    label_set: LabelSet | None = None
    corpus: str | CorpusSource | None = None
    max_duration: float = MAX_DURATION
    cache: str | Path | None = None

    @property
    def cache_folder(self) -> Path:
        """Folder of decoded data and stored results."""
        return Path(self.cache) if self.cache else cache_dir()

    @cached_property
    def source(self) -> CorpusSource:
        """The corpus.

        Raises:
            ConfigError: If two corpora are given, or a channel or label set that the corpus does not have.
            DataError: If a stream is missing or corrupted.
        """
        given = [f"data.{name}" for name in CORPORA if getattr(self, name)]
        if len(given) > 1:
            raise ConfigError(f"Set one of {' and '.join(given)}, not {len(given)}: a run uses one corpus.")
        source = self._open()
        if source.label_set is None and (self.channel != "speech" or self.label_set):
            raise ConfigError("data.channel and data.label_set are for RAVDESS; a manifest defines its own labels.")
        return source

    def _open(self) -> CorpusSource:
        if self.corpus:
            own: CorpusSource = Part.parse("corpus", {}, self.corpus, base=CorpusSource).create({})
            return own
        if self.stream:
            return open_stream(self.stream, self.channel, self.label_set)
        if self.manifest:
            return ManifestSource(Path(self.manifest), self.allow_outside_paths)
        folder = Path(self.root) if self.root else self.cache_folder / "synthetic" / f"version{SYNTHETIC_VERSION}"
        label_set = label_set_for(self.channel, self.label_set)
        return RavdessSource(folder, self.channel, label_set, is_built_in=not self.root)


@dataclass(eq=False, repr=False)
class SplitSettings:
    """Division of the clips into training, validation and test.

    Args:
        protocol: Partition of the speakers into folds, by name or as a class of your own (see
            `crossmodal.datasets.splits.own_protocol.split_by_own`); the default is ``seq6``, and for a manifest
            ``given`` if it has splits, otherwise ``grouped``.
        fold: Test fold, counted from 0; the speakers of the next fold validate, and the others train.
        num_folds: Number of folds of ``grouped``, at least 3.
        allow_speaker_leakage: Whether to allow the protocol ``random`` and given splits that share speakers, whose
            results are speaker-dependent.
        labelled_actors: Training actors that keep their labels, to measure how many labels are needed: their number,
            drawn by the seed with as many women as men, or their names; None for all.
    """

    protocol: Protocol | str | Callable[..., Any] | None = None
    fold: int = 0
    num_folds: int = NUM_FOLDS
    allow_speaker_leakage: bool = False
    labelled_actors: int | list[str | int] | None = None

    def divide(self, clips: Sequence[Clip], source: CorpusSource, listed: Sequence[Clip]) -> dict[Split, list[Clip]]:
        """Divide usable clips of a corpus; `listed` has all of its clips. The protocol is then its name."""
        protocol = self.protocol or source.protocol
        self.protocol = name_of_protocol(protocol)
        leakage = self.allow_speaker_leakage
        return split_clips(clips, protocol, self.fold, source.label_set, leakage, self.num_folds, corpus=listed)


@dataclass(eq=False, repr=False)
class FaceSettings:
    """Faces of the clips: crops of pixels, or features or embeddings in their place.

    Args:
        num_video_frames: Number of evenly spaced video frames per clip; for face features with one row per video frame,
            the number of means over time.
        face_size: Height and width of a face crop in pixels.
        face_box: Left, top, right and bottom of the face, as fractions of the width and height of the picture; the
            default is the position in RAVDESS, and for a manifest the whole picture.
        face_detector: Detector to track the face instead: ``haar``, or the path of a YuNet ONNX file (extra ``face``).
        video_decoder: Library that decodes video frames: ``pyav``, ``decord``, or ``auto`` for decord where it can.
        face_features: Features from another program to use instead of pixels: CSV, Parquet or a folder of ``.npy``.
        face_embeddings: Embeddings of a frozen backbone by clip (safetensors) to use instead of pixels.
        face_normalization: ``actor`` subtracts each actor's mean from face features or embeddings (see
            `crossmodal.datasets.faces.actor_normalization.center_by_actor`); pixels are not changed.
    """

    num_video_frames: int = 8
    face_size: int = 224
    face_box: Box | None = None
    face_detector: str | None = None
    video_decoder: VideoDecoder = "pyav"
    face_features: str | None = None
    face_embeddings: str | None = None
    face_normalization: Literal["actor"] | None = None

    def has_faces(self, source: CorpusSource) -> bool:
        """Return False if no clip of a corpus has a video, and there are no face features or embeddings."""
        is_given = source.is_built_in or self.face_features or self.face_embeddings
        return bool(is_given) or any(clip.video for clip in source.index()[0])

    def crops_of(self, source: CorpusSource) -> FaceCrops:
        """Return the settings of the face crops of a corpus."""
        box = self.face_box or source.face_box
        return FaceCrops(self.num_video_frames, self.face_size, box, self.face_detector, self.video_decoder)
