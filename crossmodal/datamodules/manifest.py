"""The datamodules of any paired recordings, which a manifest lists."""

from typing import Any

from crossmodal.datamodules.base import CorpusDataModule
from crossmodal.datamodules.corpus import AudioDataModule, PairedDataModule, VideoDataModule


class _ManifestDataModule(CorpusDataModule):
    def __init__(self, manifest: str, **settings: Any) -> None:
        super().__init__(manifest=manifest, **settings)


class ManifestAudioDataModule(_ManifestDataModule, AudioDataModule):
    """The voices of any corpus, for a student alone: see `AudioDataModule`.

    Args:
        manifest: A CSV or Parquet table with a row for each clip; see `crossmodal.datasets.index_manifest`.
        settings: The other arguments of `CorpusDataModule`, but for `root`, `channel` and `label_set`.
    """


class ManifestVideoDataModule(_ManifestDataModule, VideoDataModule):
    """The faces of any corpus: see `VideoDataModule`, and `ManifestAudioDataModule` for the arguments."""


class ManifestPairedDataModule(_ManifestDataModule, PairedDataModule):
    """The clips of any corpus with sound and face, for teaching.

    Clips without a label are in the batches with label -1: they teach, and are in no task loss. See `PairedDataModule`,
    and `ManifestAudioDataModule` for the arguments.
    """
