"""Datamodules of the recordings listed in a manifest."""

from typing import Any

from crossmodal.datamodules.base import CorpusDataModule
from crossmodal.datamodules.corpus import AudioDataModule, PairedDataModule, VideoDataModule


class _ManifestDataModule(CorpusDataModule):
    def __init__(self, manifest: str, **settings: Any) -> None:
        super().__init__(manifest=manifest, **settings)


class ManifestAudioDataModule(_ManifestDataModule, AudioDataModule):
    """Audio clips of any corpus, for a student alone; see `AudioDataModule`.

    Args:
        manifest: CSV or Parquet table with one row per clip; see `crossmodal.datasets.index_manifest`.
        settings: Other arguments of `CorpusDataModule` except `root`, `channel` and `label_set`.
    """


class ManifestVideoDataModule(_ManifestDataModule, VideoDataModule):
    """Faces of any corpus; see `VideoDataModule`, and `ManifestAudioDataModule` for the arguments."""


class ManifestPairedDataModule(_ManifestDataModule, PairedDataModule):
    """Clips of any corpus with audio and face, for transfer.

    Unlabelled clips have label -1: they are used for distillation but not in the task loss. See `PairedDataModule`, and
    `ManifestAudioDataModule` for the arguments.
    """
