"""The datamodule that reads a stream: a corpus larger than a machine's disk."""

from functools import cached_property
from typing import TYPE_CHECKING, Any

from lightning.pytorch import LightningDataModule

from crossmodal.datamodules.clip_dataset import ALONE, Place
from crossmodal.datasets.clip import Split
from crossmodal.datasets.stream.reader import StreamAbout, check_whole, read_about
from crossmodal.errors import ConfigError

if TYPE_CHECKING:
    from crossmodal.datamodules.clip_stream import ClipStreamLoader


class StreamingPairedDataModule(LightningDataModule):
    """Clips with sound and face out of a stream, as ``crossmodal data prepare --to litdata`` writes it.

    Batches hold what those of `PairedDataModule` hold: ``clip``, ``label``, ``waveform``, ``waveform_length``,
    ``faces``. Each process of a training reads its own part, chunk by chunk; in validation and test every clip is in
    one of them, once. Needs the extra ``stream``.

    Args:
        stream: A folder, or an URL such as ``s3://bucket/folder``, whose chunks are kept in the cache.
        batch_size: Clips in a batch, of all devices together.
        num_workers: Processes that read for a device; 0 reads in the training process.
        seed: Of the order of the training clips.

    Raises:
        ConfigError: The size of a batch is not positive.
    """

    def __init__(self, stream: str, batch_size: int = 32, num_workers: int = 0, seed: int = 0) -> None:
        super().__init__()
        if batch_size < 1:
            raise ConfigError(f"A batch holds one clip or more, not {batch_size}.")
        self.stream = stream
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed
        self._training: ClipStreamLoader | None = None
        self._stopped_at: dict[str, Any] | None = None

    @cached_property
    def about(self) -> StreamAbout:
        """What the stream holds; read when it is first asked for.

        Raises:
            CorpusNotFoundError: There is no stream.
            DataError: It is damaged, or of another version.
            MissingExtraError: litdata is not installed.
        """
        return read_about(self.stream)

    @property
    def labels(self) -> tuple[str, ...]:
        """The class names, in the order of their numbers."""
        return self.about.labels

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.labels)

    @property
    def held_out_actors(self) -> set[str]:
        """Validation and test actors: no teacher may have been trained on them. Empty if leakage was allowed."""
        if self.is_speaker_dependent:
            return set()
        return {*self.about.actors["val"], *self.about.actors["test"]}

    @property
    def is_speaker_dependent(self) -> bool:
        """Whether the same speakers train and test: then no result says anything about other people."""
        return self.about.is_speaker_dependent

    @property
    def is_synthetic(self) -> bool:
        """Whether the corpus was made by `synthesize`: then no result says anything about people."""
        return self.about.kind == "synthetic"

    def setup(self, stage: str | None = None) -> None:
        """See that the stream is there and, in a folder, whole.

        Raises:
            CorpusNotFoundError: There is no stream.
            DataError: It is damaged, or of another version.
            MissingExtraError: litdata is not installed.
        """
        _ = self.about
        check_whole(self.stream)

    def train_dataloader(self) -> "ClipStreamLoader":
        """Training clips in a new order each epoch; where several processes train, this one's part of them."""
        self._training = self._loader("train", self.seed)
        if self._stopped_at and self.trainer and self.trainer.ckpt_path:
            self._training.load_state_dict(self._stopped_at)
        return self._training

    def val_dataloader(self) -> "ClipStreamLoader":
        """Validation clips; where several processes train, this one's part of them."""
        return self._loader("val")

    def test_dataloader(self) -> "ClipStreamLoader":
        """Test clips; where several processes test, this one's part of them."""
        return self._loader("test")

    def state_dict(self) -> dict[str, Any]:
        """Where in which epoch the training clips are; Lightning keeps it in checkpoints.

        It would keep the loader's own as well, but forgets to give it back where an optimizer asks for the number of
        steps, as those of `BaseTask` do.
        """
        return {"training": self._training.state_dict()} if self._training else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on there, in a fit from that checkpoint."""
        self._stopped_at = state_dict.get("training")

    def _loader(self, split: Split, shuffle_seed: int | None = None) -> "ClipStreamLoader":
        from crossmodal.datamodules.clip_stream import ClipStreamLoader

        place = Place(self.trainer.global_rank, self.trainer.world_size) if self.trainer else ALONE
        num_clips = self.about.num_clips[split]
        return ClipStreamLoader(self.stream, split, num_clips, self.batch_size, self.num_workers, place, shuffle_seed)
