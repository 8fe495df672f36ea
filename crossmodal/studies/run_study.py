"""A whole study: plan its runs, run them, and write the report."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossmodal.errors import StudyError
from crossmodal.naming import lookup
from crossmodal.pipeline.arguments import command_words
from crossmodal.shipped_configs import find_config
from crossmodal.studies.compare_report import report_methods
from crossmodal.studies.efficiency_report import report_efficiency
from crossmodal.studies.finished import load_runs
from crossmodal.studies.grid import Cell, plan
from crossmodal.studies.report import StudyReport
from crossmodal.studies.run_grid import LOG, run_cells
from crossmodal.studies.study_file import Study, read_study
from crossmodal.studies.thesis.report import report_applications

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from crossmodal.pipeline.arguments import FitSettings


def study(
    file: str | Path,
    *,
    out: str | Path | None = None,
    jobs: int = 1,
    names: Sequence[str] | None = None,
    protocols: Sequence[str] | None = None,
    folds: Sequence[int] | None = None,
    seeds: Sequence[int] | None = None,
    students: Sequence[str] | None = None,
    labelled_actors: Sequence[int | None] | None = None,
    **settings: "Unpack[FitSettings]",
) -> StudyReport:
    """Run a study and write its report; finished runs are skipped and interrupted runs are resumed.

    With ``jobs`` above 1, a script needs ``if __name__ == "__main__":`` around the call.

    Args:
        file: YAML file, or the name of a shipped study, such as ``teaching``.
        out: Folder of the study; default ``studies/`` and the name of the file.
        jobs: Number of parallel runs, each in a process with one thread.
        names: Methods or applications to run, instead of all.
        protocols: Protocols of applications, instead of those of the file.
        folds: Folds, instead of those of the file.
        seeds: Seeds, instead of those of the file.
        students: Students to teach, instead of all of the file.
        labelled_actors: Numbers of labelled training actors, None for all, instead of those of the file.
        **settings: Settings of all runs, see `crossmodal.pipeline.FitSettings`.

    Returns:
        The report, which a notebook shows.

    Raises:
        ConfigError: If the file or a setting is invalid.
        StudyError: If runs failed, after all others have finished. The same call retries them.

    Examples:
        >>> from crossmodal import study
        >>> report = study("teaching", folds=[0], seeds=[0], data_root="ravdess")  # doctest: +SKIP
        >>> report.numbers["best"]  # doctest: +SKIP
    """
    words = command_words((), settings)
    narrowed: dict[str, Any] = {"names": names, "protocols": protocols, "folds": folds, "seeds": seeds}
    _, folder, cells = plan_study(file, words, out, students=students, labelled_actors=labelled_actors, **narrowed)
    if failed := run_cells(cells, jobs):
        raise StudyError(describe_failures(folder, failed))
    return report_study(folder)


def plan_study(
    file: str | Path,
    words: Sequence[str] = (),
    out: str | Path | None = None,
    only: Sequence[str] | None = None,
    **narrowed: Sequence[Any] | None,
) -> tuple[Study, Path, list[Cell]]:
    """Return a study with its folder and requested runs; `words` are arguments of ``fit`` for all runs.

    `only` selects runs by the names of their folders; `narrowed` are those of `Study.narrow`.
    """
    path = find_config(str(file), "studies")
    requested = read_study(path).narrow(**narrowed)
    folder = Path(out) if out else Path("studies") / path.stem
    cells = {cell.folder.name: cell for cell in plan(requested, folder, words)}
    return requested, folder, [lookup("run of this study", cells, name) for name in only or cells]


def report_study(folder: str | Path) -> StudyReport:
    """Write the tables, plots and pages of the finished runs into the folder of a study, and return them.

    Raises:
        ConfigError: If there are no finished runs, or they are of different studies.
    """
    folder = Path(folder)
    runs = load_runs(folder)
    of_methods = report_efficiency if "labelled_actors" in runs[0].about else report_methods
    report = (report_applications if runs[0].kind == "application" else of_methods)(folder, runs)
    report.write(folder)
    return report


def describe_failures(folder: Path, failed: dict[str, str]) -> str:
    """Return a line for each failed run with its reason, and a line with its log."""
    return "\n".join(
        f"failed: {name}: {reason}\n  log: {folder / 'runs' / name / LOG}" for name, reason in failed.items()
    )
