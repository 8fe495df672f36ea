"""LightningDataModules of any corpus: index, cache, protocol, leakage check and loaders."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

from crossmodal.datamodules.clip_dataset import ClipDataset, collate_clips
from crossmodal.datamodules.sampler import SINGLE_PROCESS, EpochShuffle, Shard, UnpaddedDistributedSampler
from crossmodal.datamodules.settings import CorpusSettings, FaceSettings, SplitSettings
from crossmodal.datamodules.thread_loader import ThreadLoader
from crossmodal.datasets.cache import PreparedCorpus
from crossmodal.datasets.clip import Clip, ExcludedClip, Split, nothing_usable
from crossmodal.datasets.clip_tensors import ClipTensors
from crossmodal.datasets.complete_clips import prepare_complete
from crossmodal.datasets.faces.actor_normalization import center_by_actor
from crossmodal.datasets.faces.features import store_face_features
from crossmodal.datasets.splits.given_split import shared_speakers
from crossmodal.datasets.splits.labelled_actors import hide_labels
from crossmodal.datasets.splits.protocols import check_classes, check_teacher
from crossmodal.datasets.splits.same_recording import check_recordings
from crossmodal.errors import ConfigError, CorpusNotFoundError
from crossmodal.storage import content_key


@dataclass(eq=False, repr=False)
class CorpusDataModule(FaceSettings, SplitSettings, CorpusSettings, LightningDataModule):
    """Base class: the clips of a corpus, split by a protocol. Subclasses define the content of a batch.

    Args:
        batch_size: Number of clips per batch, over all devices.
        num_workers: Number of threads per device that read ahead; 0 reads on demand, which is enough for the cache on a
            CPU.
        seed: Seed of the order of the training clips, and of the draw of `labelled_actors`.
        teacher_outputs: Embeddings and logits of a trained teacher by clip (safetensors).
        speech_features: Folder of features of a frozen front end, written by
            `crossmodal.pipeline.stored.speech_features.store_speech_features`, to use instead of waveforms.

    Raises:
        ConfigError: If the label set does not match the channel, two kinds of faces or two corpora are given, the
            folder of speech features does not exist, or (at `setup`) `labelled_actors` are not training actors.
    """

    needs_audio: ClassVar[bool] = False
    needs_faces: ClassVar[bool] = False

    batch_size: int = 32
    num_workers: int = 0
    seed: int = 0
    teacher_outputs: str | None = None
    speech_features: str | Path | None = None

    def __post_init__(self) -> None:
        LightningDataModule.__init__(self)
        if self.face_features and self.face_embeddings:
            raise ConfigError("Pass face_features or face_embeddings, not both: they are alternative inputs.")
        if self.speech_features and not Path(self.speech_features).is_dir():
            raise ConfigError(
                f"Folder {self.speech_features} of speech_features is missing; `crossmodal fit` creates it."
            )
        self.crops = self.crops_of(self.source)
        self.feature_versions: list[Path] = []  # folders of more versions of the training clips' features
        self.summaries: Path | None = None  # of an audio encoder, by clip
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
            "speech_features": self._feature_folder and self._feature_folder.name,
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
        """Split the clips, once for all stages. For the stage ``fit``, every class needs a labelled training clip."""
        if not self.split:
            self._divide()
        if stage == "fit" and not self._excluded_actors:
            check_classes(self.split, self.labels)

    def _divide(self) -> None:
        self._corpus, self._tensors, self.excluded = self._prepare()
        self.split = self.divide(self._corpus.clips, self.source, self._indexed)
        training = hide_labels(self.split["train"], self.labelled_actors, self.seed)
        self.split["train"] = [clip for clip in training if clip.actor not in self._excluded_actors]
        for arrays in (self._corpus.waveforms, self._corpus.faces):
            check_recordings(self.split, arrays, is_ravdess=self.source.label_set is not None)
        if self.teacher_outputs and self._tensors and not self.is_speaker_dependent:
            check_teacher(self._tensors.about["train_actors"], self.split)

    def train_dataloader(self) -> DataLoader[Any]:
        """Return a loader of this process's share of each training batch, in a new order each epoch."""
        return self.loader(self.split["train"], shuffle=True, shard=self._shard)

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
        features = None if self.summaries else self._feature_files(versions=shuffle)
        tensors = [self._tensors, ClipTensors(self.summaries) if self.summaries else None]
        dataset = ClipDataset(
            clips,
            self.labels,
            self.waveforms if self.needs_audio and features is None and not self.summaries else None,
            self._corpus.faces if self._reads_pixels else None,
            [one for one in tensors if one],
            features,
            read=self.source.read,
        )
        if shuffle:
            sampler: DistributedSampler[int] = EpochShuffle(dataset, self.seed, self.batch_size, shard)
        else:
            sampler = UnpaddedDistributedSampler(dataset, shard)
        return ThreadLoader(
            dataset,
            batch_size=max(self.batch_size // shard.world_size, 1),
            sampler=sampler,
            num_threads=self.num_workers,
            collate_fn=collate_clips,
            pin_memory=torch.cuda.is_available(),
        )

    @property
    def _shard(self) -> Shard:
        return Shard(self.trainer.global_rank, self.trainer.world_size) if self.trainer else SINGLE_PROCESS

    @property
    def _feature_folder(self) -> Path | None:
        return Path(self.speech_features) if self.speech_features and self.needs_audio else None

    def _feature_files(self, versions: bool) -> dict[str, list[Path]] | None:
        """Return the files of stored features by clip, with more versions of the training clips; None if none exist."""
        if self._feature_folder is None:
            return None
        folders = [self._feature_folder, *(self.feature_versions if versions else ())]
        return {clip: [folder / path.name for folder in folders] for clip, path in self.waveforms.items()}

    @property
    def _reads_pixels(self) -> bool:
        return self.needs_faces and not (self.face_features or self.face_embeddings or self.teacher_outputs)

    def _prepare(self) -> tuple[PreparedCorpus, ClipTensors | None, list[ExcludedClip]]:
        """Index the corpus, keep clips with all data that a batch needs, and decode what is missing."""
        clips, index_excluded = self.source.index()
        tensors, features_excluded = self._read_stored({clip.clip: clip.actor for clip in clips})
        self._indexed = [clip for clip in clips if self.source.holds(clip)]
        corpus = prepare_complete(
            self.source,
            [clip for clip in self._indexed if self._keep(clip)],
            audio=self.needs_audio,
            crops=self.crops if self._reads_pixels else None,
            tensors=tensors,
            max_duration=self.max_duration,
            folder=self.cache_folder,
        )
        excluded = [*index_excluded, *features_excluded, *corpus.excluded]
        if not corpus.clips:
            raise CorpusNotFoundError(nothing_usable(self.source.path, excluded))
        return corpus, tensors, excluded

    def _read_stored(self, actors: dict[str, str]) -> tuple[ClipTensors | None, list[ExcludedClip]]:
        """Read the tensors that replace pixels in a batch; `actors` maps clips to actors."""
        if not self.needs_faces or self._reads_pixels:
            return None, []
        excluded: list[ExcludedClip] = []
        if path := self.teacher_outputs or self.face_embeddings:
            tensors = ClipTensors(path)
        else:
            tensors, excluded = store_face_features(str(self.face_features), self.num_video_frames, self.cache_folder)
        if self.face_normalization and "face_embeddings" in tensors.shapes:
            tensors = center_by_actor(tensors, actors, self.cache_folder)
        return tensors, excluded


class AudioDataModule(CorpusDataModule):
    """Audio clips with batches of ``waveform`` and ``waveform_length``, for a student alone.

    See `CorpusDataModule` for the arguments.
    """

    needs_audio = True


class VideoDataModule(CorpusDataModule):
    """Faces with batches of ``faces``, or of ``face_embeddings`` if embeddings or face features are given.

    See `CorpusDataModule` for the arguments.
    """

    needs_faces = True


class PairedDataModule(CorpusDataModule):
    """Clips with audio and face, for transfer: waveforms with teacher outputs, embeddings or faces.

    With `teacher_outputs`, a batch has ``teacher_embedding`` and ``teacher_logits`` and no faces, and a teacher that
    was trained on a validation or test actor raises an error. Unlabelled clips have label -1: they are used for
    distillation but not in the task loss. See `CorpusDataModule` for the arguments.
    """

    needs_audio = True
    needs_faces = True
