"""Audit of a RAVDESS folder: its files, missing files, and damaged files."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from crossmodal.datasets.audit.file import FileJob, FileReport, Finding, check_file
from crossmodal.datasets.download.lock_file import LOCK_FILE, LockFile
from crossmodal.datasets.ravdess import (
    CHANNELS,
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
    """Result of `check_corpus`."""

    root: Path
    files: dict[RavdessName, Path]
    missing: list[RavdessName]  # published files of the kinds (such as the wavs of speech) of which some exist
    wrong: list[Finding]  # damaged and suspicious files
    notes: list[Finding]  # findings that are no errors
    checksums: int  # number of files that were compared with the checksums of their archives


def column_of(name: RavdessName) -> Column:
    """Return the kind of a file: its channel and modality."""
    return name.channel, name.modality


def check_corpus(root: str | Path, channel: Channel = "both", num_processes: int | None = None) -> CheckReport:
    """Check every file of a RAVDESS folder, searched to any depth, in child processes with a time limit.

    Errors are: files that do not decode completely; a duration that no clip has; a wrong number of video frames; a
    wrong checksum; an 01 mp4 without sound; unknown names; and identical files with different labels. Notes are stereo,
    other formats, copies of a file, and the pair of takes that RAVDESS published twice. A folder without files of the
    channel raises CorpusNotFoundError, a damaged lock file DataError.
    """
    root = Path(root)
    index_ravdess(root, channel)  # raises if the corpus is missing
    files, wrong, notes = _sort_names(root, channel)
    kinds = set(map(column_of, files))
    published = [member for members in LockFile(root / LOCK_FILE).members.values() for member in members]
    known = {PurePosixPath(member.path).name: (member.size, member.crc32) for member in published}
    jobs = {
        FileJob(path, name.modality, known.get(path.name)): name
        for name, path in sorted(files.items(), key=lambda item: item[1])
    }
    reports = {}
    for job, outcome in map_in_processes(check_file, list(jobs), description="Checking", num_processes=num_processes):
        if isinstance(outcome, Failure):
            reason, outcome = outcome.reason, FileReport(str(job.path))
            outcome.add_error("damaged", reason)
        reports[jobs[job]] = outcome
    _compare_contents(reports)
    for report in reports.values():
        wrong += report.wrong
        notes += report.notes
    return CheckReport(
        root=root,
        files=files,
        missing=[name for name in published_names(channel) if name not in files and column_of(name) in kinds],
        wrong=sorted(wrong, key=lambda finding: finding.file),
        notes=sorted(notes, key=lambda finding: finding.file),
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
            if name not in published:
                raise ValueError("RAVDESS has no such clip")
            if (path.suffix.lower() == ".wav") != (name.modality == "03"):
                raise ValueError(f"modality {name.modality} is not stored as {path.suffix}")
        except ValueError as error:
            wrong.append(Finding(str(path), "name", str(error)))
            continue
        if channel in ("both", CHANNELS[name.channel]) and (first := files.setdefault(name, path)) != path:
            if hash_file(path) == hash_file(first):
                notes.append(Finding(str(path), "copy", f"a copy of {first}"))
            else:
                wrong.append(Finding(str(path), "copy", f"the same name as, but other content than, {first}"))
    return files, wrong, notes


def _compare_contents(reports: dict[RavdessName, FileReport]) -> None:
    """Report identical files with different names: an error if their labels differ, else a note."""
    first_of: dict[str, RavdessName] = {}
    for name, report in sorted(reports.items()):
        first = first_of.setdefault(report.content, name) if report.content else name
        if first != name:
            same_label = name._replace(repetition="", statement="") == first._replace(repetition="", statement="")
            found = report.notes if same_label else report.wrong
            reason = f"its content is identical to {Path(reports[first].file).name}"
            found.append(Finding(report.file, "duplicate", reason))
