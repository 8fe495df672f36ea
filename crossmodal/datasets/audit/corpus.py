"""Audit of a RAVDESS folder: its files, missing files, and damaged files."""

import zipfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from crossmodal.datasets.audit.file import FileJob, FileReport, Finding, check_file
from crossmodal.datasets.audit.sync import Sync
from crossmodal.datasets.download.lock_file import LOCK_FILE, LockFile
from crossmodal.datasets.ravdess import (
    CHANNELS,
    MODALITIES,
    Channel,
    RavdessName,
    index_ravdess,
    media_files,
    parse_name,
    published_names,
)
from crossmodal.process_pool import Failure, map_in_processes
from crossmodal.storage import hash_file

Column = tuple[str, str]  # codes of channel and modality


@dataclass(frozen=True)
class CheckReport:
    """Result of `check_corpus`.

    Args:
        root: The folder.
        files: Its RAVDESS files by their parsed names.
        missing: The published files of the channels that are missing.
        wrong: Damaged and suspicious files.
        notes: Findings that are no errors.
        syncs: The comparison of the sound of each 01 mp4 with the wav, by clip.
        checksums: The number of files that were compared with the checksums of their archives.
    """

    root: Path
    files: dict[RavdessName, Path]
    missing: list[RavdessName]
    wrong: list[Finding]
    notes: list[Finding]
    syncs: dict[str, Sync]
    checksums: int

    @property
    def gaps(self) -> list[RavdessName]:
        """Missing files of the kinds (such as the wavs of speech) of which some exist."""
        columns = {column_of(name) for name in self.files}
        return [name for name in self.missing if column_of(name) in columns]


def column_of(name: RavdessName) -> Column:
    """Return the kind of a file: its channel and modality."""
    return name.channel, name.modality


def check_corpus(root: str | Path, channel: Channel = "both", num_processes: int | None = None) -> CheckReport:
    """Check every file of a RAVDESS folder, each in a child process with a time limit.

    Errors are: files that do not decode completely; a duration that no clip has; a wrong number of video frames; a
    wrong checksum; sound that differs from the wav or is not 33.3 ms later; unknown names; and identical files with
    different labels. Notes are stereo, other formats, copies of a file, and the pair of takes that RAVDESS published
    twice.

    Args:
        root: The folder; searched to any depth.
        channel: ``speech``, ``song`` or ``both``.
        num_processes: Number of processes; default one per core.

    Raises:
        CorpusNotFoundError: The folder does not exist, or has no RAVDESS file of this channel.
        DataError: The lock file of the download is damaged.
    """
    root = Path(root)
    index_ravdess(root, channel)  # raises if the corpus is missing
    files, wrong, notes = _sort_names(root, channel)
    known = _known_checksums(root)
    jobs = [
        FileJob(path, name.modality, _wav_of(name, files), known.get(path.name))
        for name, path in sorted(files.items(), key=lambda item: item[1])
    ]
    names = {path: name for name, path in files.items()}
    reports = {}
    for job, outcome in map_in_processes(check_file, jobs, description="Checking", num_processes=num_processes):
        if isinstance(outcome, Failure):
            outcome = FileReport(wrong=[Finding(str(job.path), "damaged", outcome.reason)])
        reports[names[job.path]] = outcome
    found_wrong, found_notes = _same_content(reports, files)
    damaged = {finding.file for report in reports.values() for finding in report.wrong if finding.kind != "sound"}
    wrong += [finding for report in reports.values() for finding in report.wrong]
    return CheckReport(
        root=root,
        files=files,
        missing=[name for name in published_names(channel) if name not in files],
        wrong=sorted([*_trusted(wrong, damaged, files), *found_wrong], key=lambda finding: finding.file),
        notes=sorted(
            [*notes, *found_notes, *(note for report in reports.values() for note in report.notes)],
            key=lambda finding: finding.file,
        ),
        syncs={name.clip: report.sync for name, report in sorted(reports.items()) if report.sync},
        checksums=sum(job.checksum is not None for job in jobs),
    )


def _sort_names(root: Path, channel: Channel) -> tuple[dict[RavdessName, Path], list[Finding], list[Finding]]:
    """Return the first file of each name, errors and notes about names and copies."""
    files: dict[RavdessName, Path] = {}
    wrong: list[Finding] = []
    notes: list[Finding] = []
    published = set(published_names())
    for path in media_files(root):
        try:
            name = parse_name(path.name)
        except ValueError as error:
            wrong.append(Finding(str(path), "name", str(error)))
            continue
        if channel not in ("both", CHANNELS[name.channel]):
            continue
        if name not in published:
            wrong.append(Finding(str(path), "name", "RAVDESS has no such clip"))
        elif (path.suffix.lower() == ".wav") != (name.modality == "03"):
            reason = f"modality {name.modality} is {MODALITIES[name.modality]}, which is not stored as {path.suffix}"
            wrong.append(Finding(str(path), "name", reason))
        elif files.setdefault(name, path) != path:
            is_copy = hash_file(path) == hash_file(files[name])
            reason = f"{'a copy of' if is_copy else 'the same name as, but other content than,'} {files[name]}"
            (notes if is_copy else wrong).append(Finding(str(path), "copy", reason))
    return files, wrong, notes


def _wav_of(name: RavdessName, files: dict[RavdessName, Path]) -> Path | None:
    return files.get(name._replace(modality="03")) if name.modality == "01" else None


def _same_content(
    reports: dict[RavdessName, FileReport], files: dict[RavdessName, Path]
) -> tuple[list[Finding], list[Finding]]:
    """Find identical files with different names: an error if their labels differ, else a note."""
    by_content: dict[str, list[RavdessName]] = defaultdict(list)
    for name, report in sorted(reports.items()):
        if report.content:
            by_content[report.content].append(name)
    wrong: list[Finding] = []
    notes: list[Finding] = []
    for first, *others in by_content.values():
        for name in others:
            same_label = name._replace(repetition="", statement="") == first._replace(repetition="", statement="")
            reason = f"its content is identical to {files[first].name}"
            (notes if same_label else wrong).append(Finding(str(files[name]), "duplicate", reason))
    return wrong, notes


def _trusted(wrong: Sequence[Finding], damaged: set[str], files: dict[RavdessName, Path]) -> Iterable[Finding]:
    """Drop findings about sound that differs from the wav, where the wav is damaged."""
    for finding in wrong:
        name = parse_name(finding.file) if finding.kind == "sound" else None
        if not (name and str(_wav_of(name, files)) in damaged):
            yield finding


def _known_checksums(root: Path) -> dict[str, tuple[int, int]]:
    """Return size and CRC-32 of recordings by file name, from the lock file of the download and zips in the folder."""
    known: dict[str, tuple[int, int]] = {}
    for path in sorted(root.glob("*.zip")):
        try:
            with zipfile.ZipFile(path) as archive:
                known |= {PurePosixPath(info.filename).name: (info.file_size, info.CRC) for info in archive.infolist()}
        except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
            continue  # not a zip of recordings
    members = LockFile(root / LOCK_FILE).all_members()
    return known | {PurePosixPath(member.path).name: (member.size, member.crc32) for member in members}
