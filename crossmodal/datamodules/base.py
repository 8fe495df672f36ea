"""What the three RAVDESS datamodules share: index, cache, protocol, leak guard, loaders."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info
from torch.utils.data import DataLoader

from crossmodal.datamodules.clip_dataset import ClipDataset, EpochShuffle, collate_clips
from crossmodal.datasets.actor_normalization import center_by_actor
from crossmodal.datasets.cache import FaceCrops, PreparedCorpus, prepare_corpus
from crossmodal.datasets.clip import Clip, SetAside
from crossmodal.datasets.clip_tensors import ClipTensors
from crossmodal.datasets.face_features import store_face_features
from crossmodal.datasets.protocols import (
    LABEL_SETS,
    LabelSet,
    Protocol,
    Split,
    check_teacher,
    hide_labels,
    in_label_set,
    label_set_for,
    split_clips,
)
from crossmodal.datasets.ravdess import FACE_BOX, Channel, index_ravdess
from crossmodal.datasets.synthetic import SYNTHETIC_MARKER, synthesize
from crossmodal.errors import ConfigError, CorpusNotFoundError
from crossmodal.storage import cache_dir, content_key

FaceNormalizationName = Literal["actor"]
# The built-in corpus: small enough to be made in half a minute, large enough to fill four folds of seq6.
SYNTHETIC_ACTORS = 16


class RAVDESSDataModule(LightningDataModule):
    """The clips of a RAVDESS folder, divided by a protocol; subclasses say what a batch holds.

    Args:
        root: The folder of the extracted files; none means the built-in synthetic corpus.
        channel: ``speech``, ``song`` or ``both``.
        label_set: ``speech8``, ``song6``, ``speech6`` (the song classes, clips matched to song) or ``both8``; default
            is the channel's own.
        protocol: How actors are divided into folds.
        fold: Whose actors test, counted from 0; the next fold's actors validate, the rest train.
        allow_speaker_leakage: Needed for the protocol ``random``, whose results are speaker-dependent.
        batch_size: Clips in a batch.
        num_workers: Processes that read; 0 reads in the training process, which suffices for small models.
        seed: Of the order of the training clips.
        num_unlabelled_actors: How many of the training actors, the last in order, count as if nobody had labelled their
            clips: for measuring what pairs without labels are worth.
        num_video_frames: Video frames of a clip that are kept, evenly spread; of face features with one row a video
            frame, the number of means over time.
        face_size: Height and width of a face crop in pixels.
        face_features: Features from another program, in place of pixels: CSV, Parquet or a folder of ``.npy``.
        face_embeddings: Embeddings of a frozen backbone by clip (safetensors), in place of pixels.
        face_normalization: ``actor`` takes each actor's mean off face features or embeddings (see
            `crossmodal.datasets.actor_normalization.center_by_actor`); pixels stay as they are.
        teacher_outputs: Embedding and logits of a trained teacher by clip (safetensors).
        speech_features: A folder of what a frozen front end made of each waveform, as
            `crossmodal.pipeline.listening.store_speech_features` writes it, in place of waveforms.
        cache: The folder of what is decoded; default ``$CROSSMODAL_CACHE`` or the user's cache.

    Raises:
        ConfigError: The label set does not go with the channel, two kinds of faces are given, there is no such folder
            of speech features, or (at `setup`) no training actor would be left with labels.
    """

    needs_audio = False
    needs_faces = False

    def __init__(
        self,
        root: str | None = None,
        channel: Channel = "speech",
        label_set: LabelSet | None = None,
        protocol: Protocol = "seq6",
        fold: int = 0,
        allow_speaker_leakage: bool = False,
        batch_size: int = 32,
        num_workers: int = 0,
        seed: int = 0,
        num_unlabelled_actors: int = 0,
        num_video_frames: int = 8,
        face_size: int = 112,
        face_features: str | None = None,
        face_embeddings: str | None = None,
        face_normalization: FaceNormalizationName | None = None,
        teacher_outputs: str | None = None,
        speech_features: str | None = None,
        cache: str | None = None,
    ) -> None:
        super().__init__()
        if face_features and face_embeddings:
            raise ConfigError("Give face_features or face_embeddings, not both: they are two kinds of the same input.")
        if speech_features and not Path(speech_features).is_dir():
            raise ConfigError(f"There is no folder of speech features {speech_features}: `crossmodal fit` makes it.")
        self.root = root
        self.channel = channel
        self.label_set = label_set_for(channel, label_set)
        self.protocol = protocol
        self.fold = fold
        self.allow_speaker_leakage = allow_speaker_leakage
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.num_unlabelled_actors = num_unlabelled_actors
        self.crops = FaceCrops(num_video_frames, face_size, FACE_BOX)
        self.face_features = face_features
        self.face_embeddings = face_embeddings
        self.face_normalization = face_normalization
        self.teacher_outputs = teacher_outputs
        self.speech_features = Path(speech_features) if speech_features and self.needs_audio else None
        self.cache = Path(cache) if cache else cache_dir()
        self.split: dict[Split, list[Clip]] = {}
        self.set_aside: list[SetAside] = []
        self._keep: Callable[[Clip], bool] = lambda clip: True
        self._left_out: frozenset[str] = frozenset()
        self._tensors: ClipTensors | None = None
        self._corpus = PreparedCorpus([], {}, {}, [], 0, 0)

    @property
    def labels(self) -> tuple[str, ...]:
        """The class names, in the order of their numbers."""
        return LABEL_SETS[self.label_set]

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
        if self.protocol == "random":
            return set()
        return {clip.actor for name in ("val", "test") for clip in self.split[name]}

    @property
    def corpus_folder(self) -> Path:
        """Where the recordings are."""
        return Path(self.root) if self.root else self.cache / "synthetic"

    @property
    def is_synthetic(self) -> bool:
        """Whether the corpus was made by `synthesize`: then no result says anything about people."""
        return not self.root or (self.corpus_folder / SYNTHETIC_MARKER).exists()

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
        if not self.root:
            rank_zero_info("No root given: using the built-in synthetic corpus (it is no evidence about people).")
            synthesize(self.corpus_folder, actors=SYNTHETIC_ACTORS, channel=self.channel)
        self._prepare()

    def setup(self, stage: str | None = None) -> None:
        """Divide the clips; done once, whatever the stage."""
        if self.split:
            return
        self._corpus, self._tensors, self.set_aside = self._prepare()
        self.split = split_clips(
            self._corpus.clips, self.protocol, self.fold, self.label_set, self.allow_speaker_leakage
        )
        training = hide_labels(self.split["train"], self.num_unlabelled_actors)
        self.split["train"] = [clip for clip in training if clip.actor not in self._left_out]
        if self.teacher_outputs and self._tensors and self.protocol != "random":
            check_teacher(self._tensors.about["train_actors"], self.split)

    def train_dataloader(self) -> DataLoader[Any]:
        """Training clips in a new order each epoch."""
        return self.loader(self.split["train"], shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        """Validation clips."""
        return self.loader(self.split["val"])

    def test_dataloader(self) -> DataLoader[Any]:
        """Test clips."""
        return self.loader(self.split["test"])

    def predict_dataloader(self) -> DataLoader[Any]:
        """Every clip, of all splits."""
        return self.loader(self.clips)

    def loader(self, clips: Sequence[Clip], shuffle: bool = False) -> DataLoader[Any]:
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
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            sampler=EpochShuffle(len(dataset), self.seed) if shuffle else None,
            drop_last=shuffle and len(dataset) >= self.batch_size,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            collate_fn=collate_clips,
            pin_memory=torch.cuda.is_available(),
        )

    @property
    def _reads_pixels(self) -> bool:
        return self.needs_faces and not (self.face_features or self.face_embeddings or self.teacher_outputs)

    def _prepare(self) -> tuple[PreparedCorpus, ClipTensors | None, list[SetAside]]:
        """Index the folder, keep what has all that a batch needs, and decode what is not decoded."""
        index = index_ravdess(self.corpus_folder, self.channel)
        tensors, features_aside = self._stored_tensors()
        if tensors and self.face_normalization and "face_embeddings" in tensors.shapes:
            tensors = center_by_actor(tensors, {clip.clip: clip.actor for clip in index.clips}, self.cache)
        wanted = [clip for clip in index.clips if in_label_set(clip, self.label_set) and self._keep(clip)]
        lacking = {clip.clip: reason for clip in wanted if (reason := self._lacks(clip, tensors))}
        corpus = prepare_corpus(
            [clip for clip in wanted if clip.clip not in lacking],
            audio=self.needs_audio,
            crops=self.crops if self._reads_pixels else None,
            folder=self.cache,
        )
        partnerless = [SetAside(clip, reason) for clip, reason in lacking.items()]
        set_aside = [*index.set_aside, *features_aside, *partnerless, *corpus.set_aside]
        if not corpus.clips:
            raise CorpusNotFoundError(_nothing_usable(self.corpus_folder, set_aside))
        return corpus, tensors, set_aside

    def _stored_tensors(self) -> tuple[ClipTensors | None, list[SetAside]]:
        """What stands in the batch in place of pixels."""
        if not self.needs_faces:
            return None, []
        if path := self.teacher_outputs or self.face_embeddings:
            return ClipTensors(path), []
        if self.face_features:
            return store_face_features(self.face_features, self.crops.num_video_frames, self.cache)
        return None, []

    def _lacks(self, clip: Clip, tensors: ClipTensors | None) -> str | None:
        """Why a clip cannot be used, if so."""
        if self.needs_audio and clip.audio is None:
            return "no partner: there is no sound for this face"
        if self.needs_faces and tensors is not None and clip.clip not in tensors:
            return f"no partner: {tensors.about.get('source', tensors.path)} has nothing for this clip"
        if self._reads_pixels and clip.video is None:
            return "no partner: there is no video for this sound"
        return None


def _nothing_usable(folder: Path, set_aside: Sequence[SetAside]) -> str:
    shown = "\n".join(f"  {aside.what}: {aside.reason}" for aside in set_aside[:5])
    return f"{folder} holds no clip that can be used; {len(set_aside)} were set aside, among them:\n{shown}"
