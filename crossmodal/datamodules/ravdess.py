"""Datamodules of RAVDESS."""

from crossmodal.datamodules.corpus import AudioDataModule, PairedDataModule, VideoDataModule


class RAVDESSAudioDataModule(AudioDataModule):
    """RAVDESS audio clips in the folder `root`; see `AudioDataModule`."""


class RAVDESSVideoDataModule(VideoDataModule):
    """RAVDESS faces in the folder `root`; see `VideoDataModule`."""


class RAVDESSPairedDataModule(PairedDataModule):
    """RAVDESS clips with audio and face in the folder `root`; see `PairedDataModule`."""
