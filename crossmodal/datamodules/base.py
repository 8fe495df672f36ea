"""What all datamodules share: index, cache, protocol, leak guard, loaders."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.utilities import rank_zero_info
from torch.utils.data import DataLoader

from crossmodal.datamodules.clip_dataset import ALONE, ClipDataset, Place, clip_loader
from crossmodal.datamodules.resumable import ResumableDataModule
from crossmodal.datasets.cache import FaceCrops, PreparedCorpus
from crossmodal.datasets.clip import Clip, ExcludedClip, Split, nothing_usable
from crossmodal.datasets.clip_tensors import ClipTensors
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
from crossmodal.datasets.usable import prepare_usable, read_stored
from crossmodal.errors import ConfigError, CorpusNotFoundError
from crossmodal.media import Box
from crossmodal.storage import cache_dir, content_key

FaceNormalizationName = Literal["actor"]


class CorpusDataModule(ResumableDataModule):
    """The clips of a corpus, divided by a protocol; subclasses say what a batch holds.

    Args:
        root: The folder of RAVDESS's extracted files; none, and no manifest, means the built-in synthetic corpus.
        manifest: Any other corpus of paired recordings, as a table: CSV or Parquet with a row for each clip; see
            `crossmodal.datasets.index_manifest`.
        allow_outside_paths: Whether a manifest's files may lie outside of its folder.
        channel: Of RAVDESS: ``speech``, ``song`` or ``both``.
        label_set: Of RAVDESS: ``speech8``, ``song6``, ``speech6`` (the song classes, clips matched to song) or
            ``both8``; default is the channel's own. A manifest's labels are those that occur in it.
        protocol: How speakers are divided into folds; default ``seq6``, and for a manifest ``given`` where it names a
            split, else ``grouped``.
        fold: Whose speakers test, counted from 0; the next fold's speakers validate, the rest train.
        num_folds: How many folds ``grouped`` makes, 3 or more.
        allow_speaker_leakage: Needed for the protocol ``random``, and for a given split whose parts share speakers:
            their results are speaker-dependent.
        batch_size: Clips in a batch, of all devices together.
        num_workers: Threads that read ahead for a device; 0 reads when a batch is wanted, which suffices on a CPU.
        seed: Of the order of the training clips.
        num_unlabelled_actors: How many of the training actors, the last in order, count as if nobody had labelled their
            clips: for measuring what pairs without labels are worth.
        num_video_frames: Video frames of a clip that are kept, evenly spread; of face features with one row a video
            frame, the number of means over time.
        face_size: Height and width of a face crop in pixels.
        face_box: Left, top, right and bottom of the face, as fractions of the picture's width and height; default is
            where RAVDESS has it, and for a manifest the whole picture.
        face_detector: Follows the face in its place: ``haar``, or the path of a YuNet ONNX file (extra ``face``).
        face_features: Features from another program, in place of pixels: CSV, Parquet or a folder of ``.npy``.
        face_embeddings: Embeddings of a frozen backbone by clip (safetensors), in place of pixels.
        face_normalization: ``actor`` takes each actor's mean off face features or embeddings (see
            `crossmodal.datasets.faces.actor_normalization.center_by_actor`); pixels stay as they are.
        teacher_outputs: Embedding and logits of a trained teacher by clip (safetensors).
        speech_features: A folder of what a frozen front end made of each waveform, as
            `crossmodal.pipeline.stored.speech_features.store_speech_features` writes it, in place of waveforms.
        max_duration: Seconds; a clip whose sound is longer is set aside, for its batch would be as long as it is.
        cache: The folder of what is decoded; default ``$CROSSMODAL_CACHE`` or the user's cache.

    Raises:
        ConfigError: The label set does not go with the channel, two kinds of faces or two corpora are given, there is
            no such folder of speech features, or (at `setup`) no training actor would be left with labels.
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
            raise ConfigError("Give face_features or face_embeddings, not both: they are two kinds of the same input.")
        if speech_features and not Path(speech_features).is_dir():
            raise ConfigError(f"There is no folder of speech features {speech_features}: `crossmodal fit` makes it.")
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
        self.crops = FaceCrops(num_video_frames, face_size, face_box or self.source.face_box, face_detector)
        self.face_features = face_features
        self.face_embeddings = face_embeddings
        self.face_normalization = face_normalization
        self.teacher_outputs = teacher_outputs
        self.speech_features = Path(speech_features) if speech_features and self.needs_audio else None
        self.max_duration = max_duration
        self.split: dict[Split, list[Clip]] = {}
        self.set_aside: list[ExcludedClip] = []
        self._listed: list[Clip] = []
        self._keep: Callable[[Clip], bool] = lambda clip: True
        self._left_out: frozenset[str] = frozenset()
        self._tensors: ClipTensors | None = None
        self._corpus = PreparedCorpus([], {}, {}, [], 0, 0)

    @property
    def labels(self) -> tuple[str, ...]:
        """The class names, in the order of their numbers."""
        return self.source.labels

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.labels)

    @property
    def clips(self) -> list[Clip]:
        """Every clip that is used, after `setup`."""
        return [clip for clips in self.split.values() for clip in clips]

    @property
    def held_out_actors(self) -> set[str]:
        """Validation and test actors: no teacher may have been trained on them. Empty if leakage was allowed."""
        if self.is_speaker_dependent:
            return set()
        return {clip.actor for name in ("val", "test") for clip in self.split[name]}

    @property
    def protocol(self) -> Protocol:
        """How speakers are divided into folds."""
        return self._protocol or self.source.protocol

    @property
    def is_speaker_dependent(self) -> bool:
        """Whether the same speakers train and test, after `setup`: then no result says anything about other people."""
        return self.protocol == "random" or bool(shared_speakers(self.split))

    @property
    def is_synthetic(self) -> bool:
        """Whether the corpus was made by `synthesize`: then no result says anything about people."""
        return self.source.kind == "synthetic"

    @property
    def face_embedding_size(self) -> int | None:
        """Width D of the face embeddings or face features, after `setup`; None where the batch holds pixels."""
        shapes = self._tensors.shapes if self._tensors else {}
        return shapes["face_embeddings"][-1] if "face_embeddings" in shapes else None

    @property
    def waveforms(self) -> dict[str, Path]:
        """The array file of each clip's waveform by the clip's name, after `setup`; its name is its content's key."""
        return self._corpus.waveforms

    @property
    def fingerprint(self) -> dict[str, Any]:
        """All that decides what the batches hold, as JSON, after `setup`: equal fingerprints, equal batches."""
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
            # The folder's name is a key of what made them; a file's is that of its waveform, which stands in the rows.
            "speech_features": self.speech_features and self.speech_features.name,
        }

    def restrict(self, keep: Callable[[Clip], bool]) -> None:
        """Use only the clips that `keep` is true of; to be called before `setup`."""
        self._keep = keep

    def leave_out(self, actors: Collection[str]) -> None:
        """Train without these actors, whoever validates and tests; to be called before `setup`."""
        self._left_out = frozenset(actors)

    def prepare_data(self) -> None:
        """Make what is missing: the synthetic corpus where no root is given, and the arrays in the cache."""
        if self.source.is_built_in:
            rank_zero_info("No root given: using the built-in synthetic corpus (it is no evidence about people).")
            self.source.make()
        self._prepare()

    def setup(self, stage: str | None = None) -> None:
        """Divide the clips; done once, whatever the stage."""
        if self.split:
            return
        self._corpus, self._tensors, self.set_aside = self._prepare()
        self.split = split_clips(
            self._corpus.clips,
            self.protocol,
            self.fold,
            self.label_set,
            self.allow_speaker_leakage,
            self.num_folds,
            corpus=self._listed,
        )
        training = hide_labels(self.split["train"], self.num_unlabelled_actors)
        self.split["train"] = [clip for clip in training if clip.actor not in self._left_out]
        if self.teacher_outputs and self._tensors and not self.is_speaker_dependent:
            check_teacher(self._tensors.about["train_actors"], self.split)

    def train_dataloader(self) -> DataLoader[Any]:
        """Training clips in a new order each epoch; where several processes train, this one's part of each batch."""
        return self.gone_on_with(self.loader(self.split["train"], shuffle=True, place=self._place))

    def val_dataloader(self) -> DataLoader[Any]:
        """Validation clips; where several processes train, this one's part of them."""
        return self.loader(self.split["val"], place=self._place)

    def test_dataloader(self) -> DataLoader[Any]:
        """Test clips; where several processes test, this one's part of them."""
        return self.loader(self.split["test"], place=self._place)

    def predict_dataloader(self) -> DataLoader[Any]:
        """Every clip, of all splits; where several processes predict, this one's part of them."""
        return self.loader(self.clips, place=self._place)

    def loader(self, clips: Sequence[Clip], shuffle: bool = False, place: Place = ALONE) -> DataLoader[Any]:
        """A loader over some of the clips; a shuffled one leaves out the last, smaller batch."""
        stored = self.speech_features
        dataset = ClipDataset(
            clips,
            self.labels,
            self.waveforms if self.needs_audio and not stored else None,
            self._corpus.faces if self._reads_pixels else None,
            self._tensors,
            {clip: stored / path.name for clip, path in self.waveforms.items()} if stored else None,
        )
        return clip_loader(dataset, self.batch_size, self.num_workers, self.seed if shuffle else None, place)

    @property
    def _place(self) -> Place:
        return Place(self.trainer.global_rank, self.trainer.world_size) if self.trainer else ALONE

    @property
    def _reads_pixels(self) -> bool:
        return self.needs_faces and not (self.face_features or self.face_embeddings or self.teacher_outputs)

    def _prepare(self) -> tuple[PreparedCorpus, ClipTensors | None, list[ExcludedClip]]:
        """Index the corpus, keep what has all that a batch needs, and decode what is not decoded."""
        clips, index_aside = self.source.index()
        tensors, features_aside = self._read_stored({clip.clip: clip.actor for clip in clips})
        self._listed = [clip for clip in clips if self.source.holds(clip)]
        corpus = prepare_usable(
            [clip for clip in self._listed if self._keep(clip)],
            audio=self.needs_audio,
            crops=self.crops if self._reads_pixels else None,
            tensors=tensors,
            max_duration=self.max_duration,
            folder=self.cache,
        )
        set_aside = [*index_aside, *features_aside, *corpus.set_aside]
        if not corpus.clips:
            raise CorpusNotFoundError(nothing_usable(self.source.path, set_aside))
        return corpus, tensors, set_aside

    def _read_stored(self, actors: dict[str, str]) -> tuple[ClipTensors | None, list[ExcludedClip]]:
        """What stands in the batch in place of pixels, by clip; `actors` says who speaks in each."""
        if not self.needs_faces or self._reads_pixels:
            return None, []
        path, num_rows = self.teacher_outputs or self.face_embeddings, self.crops.num_video_frames
        return read_stored(path, self.face_features, num_rows, actors if self.face_normalization else None, self.cache)
