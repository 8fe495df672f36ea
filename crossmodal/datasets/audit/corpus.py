"""What a RAVDESS folder holds, what of the published set it lacks, and which of its files are damaged."""

import zipfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from crossmodal.datasets.audit.file import FileJob, FileReport, Finding, check_file
from crossmodal.datasets.audit.sync import Sync
from crossmodal.datasets.download.lock_file import LOCK_FILE, LockFile
from crossmodal.datasets.process_pool import Failure, map_in_processes
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
from crossmodal.storage import hash_file

Column = tuple[str, str]  # channel and modality, as RAVDESS's codes


@dataclass(frozen=True)
class CheckReport:
    """What `check_corpus` found.

    Args:
        root: The folder.
        files: Its files by their names, as far as those are RAVDESS's.
        lacking: The published files that are not there, of the channels asked for.
        wrong: What is damaged, or makes one doubt.
        notes: What one should know.
        syncs: How the sound of each 01 mp4 compares with the wav, by clip.
        checksums: How many files could be compared with the checksums of their archives.
    """

    root: Path
    files: dict[RavdessName, Path]
    lacking: list[RavdessName]
    wrong: list[Finding]
    notes: list[Finding]
    syncs: dict[str, Sync]
    checksums: int

    @property
    def gaps(self) -> list[RavdessName]:
        """What is lacking of the kinds of files, such as the wavs of speech, of which there are some."""
        columns = {column_of(name) for name in self.files}
        return [name for name in self.lacking if column_of(name) in columns]


def column_of(name: RavdessName) -> Column:
    """Which kind of file a name stands for: channel and modality."""
    return name.channel, name.modality


def check_corpus(root: str | Path, channel: Channel = "both", num_processes: int | None = None) -> CheckReport:
    """Look into every file of a RAVDESS folder, each in a child process with a time limit.

    Wrong are: files that do not decode from the first to the last byte, whose length is not that of a clip, whose
    pictures or checksum are not those promised, whose sound is not that of the wav or not 33.3 ms later; names that
    RAVDESS does not have; and files of one content where that cannot be. Notes are stereo, other formats, copies of a
    file, and the one pair of takes that RAVDESS itself published twice.

    Args:
        root: The folder; searched to any depth.
        channel: ``speech``, ``song`` or ``both``.
        num_processes: Files looked into at the same time; default one for each core.

    Raises:
        CorpusNotFoundError: There is no such folder, or no RAVDESS file of this channel in it.
        DataError: The lock file of its download is damaged.
    """
    root = Path(root)
    index_ravdess(root, channel)  # raises where there is nothing
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
        lacking=[name for name in published_names(channel) if name not in files],
        wrong=sorted([*_without_hearsay(wrong, damaged, files), *found_wrong], key=lambda finding: finding.file),
        notes=sorted(
            [*notes, *found_notes, *(note for report in reports.values() for note in report.notes)],
            key=lambda finding: finding.file,
        ),
        syncs={name.clip: report.sync for name, report in sorted(reports.items()) if report.sync},
        checksums=sum(job.checksum is not None for job in jobs),
    )


def _sort_names(root: Path, channel: Channel) -> tuple[dict[RavdessName, Path], list[Finding], list[Finding]]:
    """The first file of each name, and what is wrong with names and copies."""
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
            reason = f"modality {name.modality} is {MODALITIES[name.modality]}, and not in a {path.suffix}"
            wrong.append(Finding(str(path), "name", reason))
        elif files.setdefault(name, path) != path:
            alike = hash_file(path) == hash_file(files[name])
            reason = f"{'a copy of' if alike else 'the same name, but another content, as'} {files[name]}"
            (notes if alike else wrong).append(Finding(str(path), "copy", reason))
    return files, wrong, notes


def _wav_of(name: RavdessName, files: dict[RavdessName, Path]) -> Path | None:
    return files.get(name._replace(modality="03")) if name.modality == "01" else None


def _same_content(
    reports: dict[RavdessName, FileReport], files: dict[RavdessName, Path]
) -> tuple[list[Finding], list[Finding]]:
    """Files of one content under several names: wrong where their labels differ, for one of them is then false."""
    alike: dict[str, list[RavdessName]] = defaultdict(list)
    for name, report in sorted(reports.items()):
        if report.content:
            alike[report.content].append(name)
    wrong: list[Finding] = []
    notes: list[Finding] = []
    for first, *others in alike.values():
        for name in others:
            same_label = name._replace(repetition="", statement="") == first._replace(repetition="", statement="")
            reason = f"its content is that of {files[first].name}, to the bit"
            (notes if same_label else wrong).append(Finding(str(files[name]), "duplicate", reason))
    return wrong, notes


def _without_hearsay(wrong: Sequence[Finding], damaged: set[str], files: dict[RavdessName, Path]) -> Iterable[Finding]:
    """A sound that is unlike its wav says nothing where that wav is damaged."""
    for finding in wrong:
        name = parse_name(finding.file) if finding.kind == "sound" else None
        if not (name and str(_wav_of(name, files)) in damaged):
            yield finding


def _known_checksums(root: Path) -> dict[str, tuple[int, int]]:
    """Size and CRC-32 of recordings by file name: from the lock file of a download, else from zips in the folder."""
    known: dict[str, tuple[int, int]] = {}
    for path in sorted(root.glob("*.zip")):
        try:
            with zipfile.ZipFile(path) as archive:
                known |= {PurePosixPath(info.filename).name: (info.file_size, info.CRC) for info in archive.infolist()}
        except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
            continue  # a zip is no recording, and none of ours is in it
    members = LockFile(root / LOCK_FILE).all_members()
    return known | {PurePosixPath(member.path).name: (member.size, member.crc32) for member in members}
