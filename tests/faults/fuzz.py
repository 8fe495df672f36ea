"""`python -m tests.faults.fuzz KIND NUMBER [--seed S]`: read NUMBER damaged inputs and print a table of the results.

Kinds: media, configs, manifests, settings, tables. The exit status is 1 if an input raised an error that is not ours,
took too much time or memory, or crashed a process that must survive. Such inputs are kept in a folder.
"""

import argparse
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from crossmodal.process_pool import Failure, map_in_processes
from tests.faults.attempts import READ, Attempt, Job, attempt

KINDS = ("media", "configs", "manifests", "settings", "tables")
HANG = 60.0  # time limit in seconds for all ways of one input


def fuzz(jobs: Sequence[Job]) -> Iterator[tuple[Job, list[Attempt]]]:
    """Read each input in all ways in a child process; if that crashes or hangs, try each way separately."""
    broken = []
    for job, outcome in map_in_processes(attempt, jobs, description="Fuzzing", num_processes=1, time_limit=HANG):
        if isinstance(outcome, Failure):
            broken.append(job)
        else:
            yield job, outcome
    for job in broken:
        ways = job.module.ways(job.folder, job.folder / job.make().name)
        alone = [replace(job, way=name) for name in ways]
        for one, outcome in map_in_processes(attempt, alone, description="Retrying", num_processes=1, time_limit=HANG):
            assert one.way is not None, "each job has one way"
            if isinstance(outcome, Failure):
                is_isolated = ways[one.way].isolated and "crashed" in outcome.reason
                answer = "crashed" if "crashed" in outcome.reason else "hangs"
                outcome = [Attempt(job.make().damage, one.way, answer, "" if is_isolated else outcome.reason, HANG)]
            yield one, outcome


def keep(job: Job, folder: Path) -> Path:
    damaged = job.make()
    path = folder / f"{job.seed}_{job.number}_{damaged.name}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(damaged.content)
    return path


def wrong(job: Job, one: Attempt) -> str | None:
    if one.foreign:
        return one.foreign
    if one.seconds > job.module.SECONDS:
        return f"took {one.seconds:.1f} s, the limit is {job.module.SECONDS:g} s"
    if one.memory > job.module.MEMORY:
        return f"took {one.memory:.0f} MB, the limit is {job.module.MEMORY:g} MB"
    return None


def table(attempts: Iterable[Attempt], by: str) -> str:
    """Return a Markdown table of the counts of results, by ``damage`` or by ``way``."""
    rows: dict[str, list[Attempt]] = defaultdict(list)
    for one in attempts:
        rows[getattr(one, by)].append(one)
    rows = dict(sorted(rows.items())) | {"**all**": [one for row in rows.values() for one in row]}
    answers = sorted({one.answer for one in rows["**all**"]} | {READ}, key=lambda answer: (answer != READ, answer))
    lines = [f"| {by} | times | {' | '.join(answers)} | longest | most memory |", "|---" * (len(answers) + 4) + "|"]
    for name, row in rows.items():
        counts = " | ".join(str(sum(one.answer == answer for one in row)) for answer in answers)
        longest, most = max(one.seconds for one in row), max(one.memory for one in row)
        lines.append(f"| {name} | {len(row)} | {counts} | {longest:.2f} s | {most:.0f} MB |")
    return "\n".join(lines)


def main(args: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m tests.faults.fuzz", description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("number", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--kept", type=Path, default=Path("fuzz_kept"), help="folder for inputs with problems")
    options = parser.parse_args(args)
    attempts, found = list[Attempt](), 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        jobs = [Job(options.kind, folder, options.seed, options.first + number) for number in range(options.number)]
        jobs[0].module.prepare(folder)
        for job, outcome in fuzz(jobs):
            attempts += outcome
            for one in outcome:
                if what := wrong(job, one):
                    found += 1
                    print(f"{keep(job, options.kept / options.kind)}, {one.damage}, {one.way}: {what}", flush=True)
    print(f"{table(attempts, 'damage')}\n\n{table(attempts, 'way')}\n\n{options.number} inputs, {found} wrong")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
