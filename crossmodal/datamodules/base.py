"""Base class of the datamodules: index, cache, protocol, leakage check and loaders."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.utilities import rank_zero_info
from torch.utils.data import DataLoader

from crossmodal.datamodules.clip_dataset import SINGLE_PROCESS, ClipDataset, Shard, clip_loader
from crossmodal.datamodules.resumable import ResumableDataModule
from crossmodal.datasets.cache import FaceCrops, PreparedCorpus
from crossmodal.datasets.clip import Clip, ExcludedClip, Split, nothing_usable
from crossmodal.datasets.clip_tensors import ClipTensors
from crossmodal.datasets.complete_clips import prepare_complete, read_stored
from crossmodal.datasets.ravdess import Channel
from crossmodal.datasets.source import create_source
from crossmodal.datasets.splits.given_split import shared_speakers
from crossmodal.datasets.splits.protocols import (
    NUM_FOLDS,
    LabelSet,
    Protocol,
    check_teacher,
    hide_labels,
    split_clips,
)
from crossmodal.errors import ConfigError, CorpusNotFoundError
from crossmodal.media import Box, VideoDecoder
from crossmodal.storage import cache_dir, content_key

FaceNormalizationName = Literal["actor"]


class CorpusDataModule(ResumableDataModule):
    """The clips of a corpus, split by a protocol; subclasses define the content of a batch.

    Args:
        root: Folder of the extracted RAVDESS files; without a root or manifest the built-in synthetic corpus is used.
        manifest: Table of another corpus of paired recordings: CSV or Parquet with one row per clip; see
            `crossmodal.datasets.index_manifest`.
        allow_outside_paths: Whether the files of a manifest may be outside of its folder.
        channel: Channel of RAVDESS: ``speech``, ``song`` or ``both``.
        label_set: Label set of RAVDESS: ``speech8``, ``song6``, ``speech6`` (the song classes, clips matched to song)
            or ``both8``; the default depends on the channel. The labels of a manifest are those that occur in it.
        protocol: Partition of the speakers into folds; the default is ``seq6``, and for a manifest ``given`` if it has
            splits, otherwise ``grouped``.
        fold: Test fold, counted from 0; the speakers of the next fold validate, and the others train.
        num_folds: Number of folds of ``grouped``, at least 3.
        allow_speaker_leakage: Whether to allow the protocol ``random`` and given splits that share speakers, whose
            results are speaker-dependent.
        batch_size: Number of clips per batch, over all devices.
        num_workers: Number of threads per device that read ahead; 0 reads on demand, which is enough on a CPU.
        seed: Seed of the order of the training clips.
        num_unlabelled_actors: Number of training actors, the last in order, whose labels are removed.
        num_video_frames: Number of evenly spaced video frames per clip, or of segments of face features.
        face_size: Height and width of a face crop in pixels.
        face_box: Left, top, right and bottom of the face, as fractions of the width and height of the picture; the
            default is the position in RAVDESS, and for a manifest the whole picture.
        face_detector: Detector to track the face instead: ``haar``, or the path of a YuNet ONNX file (extra ``face``).
        video_decoder: Library that decodes video frames: ``pyav``, ``decord``, or ``auto`` for decord where it can.
        face_features: Features from another program to use instead of pixels: CSV, Parquet or a folder of ``.npy``.
        face_embeddings: Embeddings of a frozen backbone by clip (safetensors) to use instead of pixels.
        face_normalization: ``actor`` subtracts each actor's mean from face features or embeddings (see
            `crossmodal.datasets.faces.actor_normalization.center_by_actor`); pixels are not changed.
        teacher_outputs: Embeddings and logits of a trained teacher by clip (safetensors).
        speech_features: Folder of features of a frozen front end, written by
            `crossmodal.pipeline.stored.speech_features.store_speech_features`, to use instead of waveforms.
        max_duration: Longest duration in seconds; longer clips are excluded, because they determine the batch length.
        cache: Folder of decoded data; the default is ``$CROSSMODAL_CACHE`` or the user's cache folder.

    Raises:
        ConfigError: If the label set does not match the channel, two kinds of faces or two corpora are given, the
            folder of speech features does not exist, or (at `setup`) no training actor would keep its labels.
    """

    needs_audio = False
    needs_faces = False

    def __init__(
        self,
        root: str | None = None,
        manifest: str | None = None,
        allow_outside_paths: bool = False,
        channel: Channel = "speech",
        label_set: LabelSet | None = None,
        protocol: Protocol | None = None,
        fold: int = 0,
        num_folds: int = NUM_FOLDS,
        allow_speaker_leakage: bool = False,
        batch_size: int = 32,
        num_workers: int = 0,
        seed: int = 0,
        num_unlabelled_actors: int = 0,
        num_video_frames: int = 8,
        face_size: int = 112,
        face_box: Box | None = None,
        face_detector: str | None = None,
        video_decoder: VideoDecoder = "pyav",
        face_features: str | None = None,
        face_embeddings: str | None = None,
        face_normalization: FaceNormalizationName | None = None,
        teacher_outputs: str | None = None,
        speech_features: str | None = None,
        max_duration: float = 60.0,
        cache: str | None = None,
    ) -> None:
        super().__init__()
        if face_features and face_embeddings:
            raise ConfigError("Pass face_features or face_embeddings, not both: they are alternative inputs.")
        if speech_features and not Path(speech_features).is_dir():
            raise ConfigError(f"Folder {speech_features} of speech_features is missing; `crossmodal fit` creates it.")
        self.cache = Path(cache) if cache else cache_dir()
        self.source = create_source(root, manifest, allow_outside_paths, channel, label_set, self.cache)
        self.channel, self.label_set = self.source.channel, self.source.label_set
        self._protocol = protocol
        self.fold = fold
        self.num_folds = num_folds
        self.allow_speaker_leakage = allow_speaker_leakage
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.num_unlabelled_actors = num_unlabelled_actors
        box = face_box or self.source.face_box
        self.crops = FaceCrops(num_video_frames, face_size, box, face_detector, video_decoder)
        self.face_features = face_features
        self.face_embeddings = face_embeddings
        self.face_normalization = face_normalization
        self.teacher_outputs = teacher_outputs
        self.speech_features = Path(speech_features) if speech_features and self.needs_audio else None
        self.max_duration = max_duration
        self.split: dict[Split, list[Clip]] = {}
        self.excluded: list[ExcludedClip] = []
        self._indexed: list[Clip] = []
        self._keep: Callable[[Clip], bool] = lambda clip: True
        self._excluded_actors: frozenset[str] = frozenset()
        self._tensors: ClipTensors | None = None
        self._corpus = PreparedCorpus([], {}, {}, [], 0, 0)

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names, in the order of their indices."""
        return self.source.labels

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.labels)

    @property
    def clips(self) -> list[Clip]:
        """All clips in use, after `setup`."""
        return [clip for clips in self.split.values() for clip in clips]

    @property
    def held_out_actors(self) -> set[str]:
        """Validation and test actors, on which no teacher may have been trained. Empty if leakage is allowed."""
        if self.is_speaker_dependent:
            return set()
        return {clip.actor for name in ("val", "test") for clip in self.split[name]}

    @property
    def protocol(self) -> Protocol:
        """Partition of the speakers into folds."""
        return self._protocol or self.source.protocol

    @property
    def is_speaker_dependent(self) -> bool:
        """True if training and test share speakers, after `setup`: results then do not apply to other speakers."""
        return self.protocol == "random" or bool(shared_speakers(self.split))

    @property
    def is_synthetic(self) -> bool:
        """True if the corpus was generated by `synthesize`: results then do not apply to people."""
        return self.source.kind == "synthetic"

    @property
    def face_embedding_size(self) -> int | None:
        """Width D of the face embeddings or face features, after `setup`; None if the batch has pixels."""
        shapes = self._tensors.shapes if self._tensors else {}
        return shapes["face_embeddings"][-1] if "face_embeddings" in shapes else None

    @property
    def waveforms(self) -> dict[str, Path]:
        """Array files of the waveforms by clip, after `setup`; file names are content keys."""
        return self._corpus.waveforms

    @property
    def fingerprint(self) -> dict[str, Any]:
        """JSON values that determine the batches, after `setup`: equal fingerprints mean equal batches."""
        waveforms, faces = self._corpus.waveforms, self._corpus.faces
        rows = [
            (split, clip.clip, clip.label, *(paths[clip.clip].stem for paths in (waveforms, faces) if paths))
            for split, clips in self.split.items()
            for clip in clips
        ]
        tensors = self._tensors and self._tensors.digest
        return {
            "clips": content_key(rows=rows),
            "labels": self.labels,
            "batch_size": self.batch_size,
            "tensors": tensors,
            # The folder's name is the key of the front end; the keys of the waveforms are in the rows.
            "speech_features": self.speech_features and self.speech_features.name,
        }

    def restrict(self, keep: Callable[[Clip], bool]) -> None:
        """Use only clips for which `keep` returns True; call this before `setup`."""
        self._keep = keep

    def exclude_actors(self, actors: Collection[str]) -> None:
        """Exclude actors from the training split only; call this before `setup`."""
        self._excluded_actors = frozenset(actors)

    def prepare_data(self) -> None:
        """Create missing data: the synthetic corpus if no root is given, and the arrays in the cache."""
        if self.source.is_built_in:
            rank_zero_info("No root given: using the built-in synthetic corpus (not evidence about people).")
            self.source.make()
        self._prepare()

    def setup(self, stage: str | None = None) -> None:
        """Split the clips, once for all stages."""
        if self.split:
            return
        self._corpus, self._tensors, self.excluded = self._prepare()
        self.split = split_clips(
            self._corpus.clips,
            self.protocol,
            self.fold,
            self.label_set,
            self.allow_speaker_leakage,
            self.num_folds,
            corpus=self._indexed,
        )
        training = hide_labels(self.split["train"], self.num_unlabelled_actors)
        self.split["train"] = [clip for clip in training if clip.actor not in self._excluded_actors]
        if self.teacher_outputs and self._tensors and not self.is_speaker_dependent:
            check_teacher(self._tensors.about["train_actors"], self.split)

    def train_dataloader(self) -> DataLoader[Any]:
        """Return a loader of this process's share of each training batch, in a new order each epoch."""
        return self.resume(self.loader(self.split["train"], shuffle=True, shard=self._shard))

    def val_dataloader(self) -> DataLoader[Any]:
        """Return a loader of this process's share of the validation clips."""
        return self.loader(self.split["val"], shard=self._shard)

    def test_dataloader(self) -> DataLoader[Any]:
        """Return a loader of this process's share of the test clips."""
        return self.loader(self.split["test"], shard=self._shard)

    def predict_dataloader(self) -> DataLoader[Any]:
        """Return a loader of this process's share of the clips of all splits."""
        return self.loader(self.clips, shard=self._shard)

    def loader(self, clips: Sequence[Clip], shuffle: bool = False, shard: Shard = SINGLE_PROCESS) -> DataLoader[Any]:
        """Return a loader of some clips; with shuffle it drops the last, smaller batch."""
        stored = self.speech_features
        dataset = ClipDataset(
            clips,
            self.labels,
            self.waveforms if self.needs_audio and not stored else None,
            self._corpus.faces if self._reads_pixels else None,
            self._tensors,
            {clip: stored / path.name for clip, path in self.waveforms.items()} if stored else None,
        )
        return clip_loader(dataset, self.batch_size, self.num_workers, self.seed if shuffle else None, shard)

    @property
    def _shard(self) -> Shard:
        return Shard(self.trainer.global_rank, self.trainer.world_size) if self.trainer else SINGLE_PROCESS

    @property
    def _reads_pixels(self) -> bool:
        return self.needs_faces and not (self.face_features or self.face_embeddings or self.teacher_outputs)

    def _prepare(self) -> tuple[PreparedCorpus, ClipTensors | None, list[ExcludedClip]]:
        """Index the corpus, keep clips with all data that a batch needs, and decode what is missing."""
        clips, index_aside = self.source.index()
        tensors, features_aside = self._read_stored({clip.clip: clip.actor for clip in clips})
        self._indexed = [clip for clip in clips if self.source.holds(clip)]
        corpus = prepare_complete(
            [clip for clip in self._indexed if self._keep(clip)],
            audio=self.needs_audio,
            crops=self.crops if self._reads_pixels else None,
            tensors=tensors,
            max_duration=self.max_duration,
            folder=self.cache,
        )
        excluded = [*index_aside, *features_aside, *corpus.excluded]
        if not corpus.clips:
            raise CorpusNotFoundError(nothing_usable(self.source.path, excluded))
        return corpus, tensors, excluded

    def _read_stored(self, actors: dict[str, str]) -> tuple[ClipTensors | None, list[ExcludedClip]]:
        """Read the tensors that replace pixels in a batch; `actors` maps clips to actors."""
        if not self.needs_faces or self._reads_pixels:
            return None, []
        path, num_rows = self.teacher_outputs or self.face_embeddings, self.crops.num_video_frames
        return read_stored(path, self.face_features, num_rows, actors if self.face_normalization else None, self.cache)
