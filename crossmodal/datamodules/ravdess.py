"""The datamodules by the name of the corpus that they know by heart."""

from crossmodal.datamodules.corpus import AudioDataModule, PairedDataModule, VideoDataModule


class RAVDESSAudioDataModule(AudioDataModule):
    """RAVDESS voices, in the folder `root`: see `AudioDataModule`."""


class RAVDESSVideoDataModule(VideoDataModule):
    """RAVDESS faces, in the folder `root`: see `VideoDataModule`."""


class RAVDESSPairedDataModule(PairedDataModule):
    """RAVDESS clips with sound and face, in the folder `root`: see `PairedDataModule`."""
