"""Exceptions of crossmodal; the base class of all is `CrossmodalError`."""

from pathlib import Path


class CrossmodalError(Exception):
    """Base class of all crossmodal errors; the message is written for the user."""


class ConfigError(CrossmodalError):
    """Invalid setting, or invalid combination of settings."""


class UnknownKeyError(ConfigError):
    """A key that no setting has; commands then exit with status 2."""


class DataError(CrossmodalError):
    """Invalid or missing data, or a request that the data cannot fulfil."""


class CorpusNotFoundError(DataError):
    """The corpus folder does not exist or has no usable clip."""


class MediaError(DataError):
    """A file that cannot be decoded.

    Args:
        path: Path of the file.
        reason: The message for the user.
    """

    def __init__(self, path: str | Path, reason: str) -> None:
        # The base class gets both arguments, so that the error can be pickled between processes.
        super().__init__(str(path), reason)
        self.path = Path(path)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class TooLongError(MediaError):
    """A recording that exceeds the longest duration."""


class DownloadError(DataError):
    """Failed download: no connection, a refused request, or a stalled transfer."""


class ChecksumError(DownloadError):
    """A file, or its entry in a record, has the wrong size or checksum."""


class ArchiveError(DataError):
    """Damaged archive, or archive with members that are unsafe to extract."""


class DiskSpaceError(DataError):
    """Not enough free disk space."""


class ProtocolError(DataError):
    """Unknown protocol or fold, or one that the corpus cannot fill."""


class LeakageError(DataError):
    """An actor would be in more than one split."""


class WeightsError(CrossmodalError):
    """Pretrained weights that are unavailable or do not fit the network."""


class ModelFolderError(CrossmodalError):
    """Incomplete, damaged or incompatible model folder."""


class UntrustedCodeError(CrossmodalError):
    """A file names a class of the user's own code, and the caller does not trust it."""


class NotFiniteError(CrossmodalError):
    """The loss is NaN or infinite."""


class StorageError(CrossmodalError):
    """A file or folder cannot be read or written, because of its path, its permissions or a read-only disk."""


class FolderInUseError(CrossmodalError):
    """Another run writes to the folder."""


class ProcessLostError(CrossmodalError):
    """A process of a distributed run ended, so the others cannot continue."""


class ProcessStartError(CrossmodalError):
    """Child processes cannot start, for example because the script has no ``__main__`` guard."""


class StudyError(CrossmodalError):
    """Some runs of a study failed."""


class ExportError(CrossmodalError):
    """A model cannot be exported, or the exported file gives different outputs."""


class HubError(CrossmodalError):
    """The Hugging Face Hub cannot be reached, or refuses a download or upload."""


class InstallationError(CrossmodalError, ImportError):
    """A required library is missing or broken, or torch, torchvision and torchaudio are incompatible."""


class MissingExtraError(CrossmodalError, ImportError):
    """An optional dependency is not installed."""
