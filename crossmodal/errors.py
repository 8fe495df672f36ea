"""What crossmodal raises.

CrossmodalError
├── ConfigError              a setting that cannot be
├── DataError                the recordings, or what was asked of them
│   ├── CorpusNotFoundError  no folder, or nothing usable in it
│   ├── MediaError           one file that cannot be decoded
│   ├── DownloadError        a file that cannot be had
│   │   └── ChecksumError    a file, or what is said of it, is not what it has to be
│   ├── ArchiveError         an archive that is damaged, or that no one should extract
│   ├── DiskSpaceError       less room on the disk than is needed
│   ├── ProtocolError        a protocol or fold that the corpus cannot fill
│   └── LeakageError         an actor on both sides of a split
├── WeightsError             pretrained weights that cannot be had or do not fit
├── ModelFolderError         a model folder that is incomplete or of another make
├── NotFiniteError           a loss that is NaN or infinite
├── StorageError             a file or folder that cannot be read or written
├── ProcessLostError         one of a run's processes ended, and the others cannot go on without it
├── ExportError              a model that cannot be exported, or whose export answers differently
├── HubError                 the Hugging Face Hub cannot be reached, or does not give or take what was asked
├── InstallationError        a library that is missing, broken, or does not fit the others
└── MissingExtraError        an optional dependency that is not installed
"""

from pathlib import Path


class CrossmodalError(Exception):
    """Base of every error that crossmodal raises on purpose; its text is meant for the user."""


class ConfigError(CrossmodalError):
    """A setting, or a combination of settings, that cannot be."""


class DataError(CrossmodalError):
    """Something is wrong with the recordings or with what was asked of them."""


class CorpusNotFoundError(DataError):
    """There is no such folder, or nothing usable in it."""


class MediaError(DataError):
    """One file that cannot be decoded.

    Args:
        path: The file.
        reason: What is wrong with it, in words for a person.
    """

    def __init__(self, path: str | Path, reason: str) -> None:
        # Both go to the base class so that the error survives pickling between processes.
        super().__init__(str(path), reason)
        self.path = Path(path)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class DownloadError(DataError):
    """A file that cannot be had: no connection, a server that refuses, or one that never gets done."""


class ChecksumError(DownloadError):
    """A file, or what a record says of it, is not what it has to be."""


class ArchiveError(DataError):
    """An archive that is damaged, or that holds what no one should extract."""


class DiskSpaceError(DataError):
    """There is less room on the disk than is needed."""


class ProtocolError(DataError):
    """A protocol or fold that does not exist or that the corpus cannot fill."""


class LeakageError(DataError):
    """An actor would be on both sides of a split."""


class WeightsError(CrossmodalError):
    """Pretrained weights that cannot be had, or that do not fit the network."""


class ModelFolderError(CrossmodalError):
    """A model folder that is incomplete, damaged or of another make."""


class NotFiniteError(CrossmodalError):
    """A loss is NaN or infinite, and nothing good can be learnt from it."""


class StorageError(CrossmodalError):
    """A file or folder that cannot be read or written: its rights, or a disk that can only be read."""


class ProcessLostError(CrossmodalError):
    """One of the processes that share a run has ended, and the others cannot go on without it."""


class ExportError(CrossmodalError):
    """A model that cannot be exported, or whose exported file gives other answers."""


class HubError(CrossmodalError):
    """The Hugging Face Hub cannot be reached, or does not give or take what was asked of it."""


class InstallationError(CrossmodalError, ImportError):
    """A required library is missing or broken, or torch, torchvision and torchaudio do not fit each other."""


class MissingExtraError(CrossmodalError, ImportError):
    """An optional dependency that is not installed."""
