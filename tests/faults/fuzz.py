"""`python -m tests.faults.fuzz KIND NUMBER [--seed S]`: so many damaged inputs, and the table of what came of them.

Kinds: media, configs, manifests. Exit status 1 if anything was raised that is no error of ours, took too long or too
much memory, or ended a process that has to live; the inputs that did are kept in the folder that is named.
"""

import argparse
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from crossmodal.datasets.process_pool import Failure, map_in_processes
from tests.faults.attempts import READ, Attempt, Job, attempt

KINDS = ("media", "configs", "manifests")
HANG = 60.0  # seconds for all ways of one input, after which its process is killed


def fuzz(jobs: Sequence[Job]) -> Iterator[tuple[Job, list[Attempt]]]:
    """Read each input in all ways, in a child process; what ends that is read again, way by way."""
    broken = []
    for job, outcome in map_in_processes(attempt, jobs, description="Fuzzing", num_processes=1, time_limit=HANG):
        if isinstance(outcome, Failure):
            broken.append(job)
        else:
            yield job, outcome
    for job in broken:
        ways = job.module.ways(job.folder, job.folder / job.make().name)
        alone = [replace(job, way=name) for name in ways]
        for one, outcome in map_in_processes(attempt, alone, description="Again", num_processes=1, time_limit=HANG):
            assert one.way is not None, "each is one way"
            if isinstance(outcome, Failure):
                is_isolated = ways[one.way].isolated and "crashed" in outcome.reason
                answer = "its process crashed" if "crashed" in outcome.reason else "hangs"
                outcome = [Attempt(job.make().damage, one.way, answer, "" if is_isolated else outcome.reason, HANG)]
            yield one, outcome


def keep(job: Job, folder: Path) -> Path:
    """Write an input to a folder, for a person to look at."""
    folder.mkdir(parents=True, exist_ok=True)
    damaged = job.make()
    path = folder / f"{job.seed}_{job.number}_{damaged.name}"
    path.write_bytes(damaged.content)
    return path


def wrong(job: Job, one: Attempt) -> str | None:
    """What is wrong with how an input was read, if anything."""
    if one.foreign:
        return one.foreign
    if one.seconds > job.module.SECONDS:
        return f"it took {one.seconds:.1f} s, and {job.module.SECONDS:g} s are the most"
    if one.memory > job.module.MEMORY:
        return f"it took {one.memory:.0f} MB, and {job.module.MEMORY:g} MB are the most"
    return None


def table(attempts: Iterable[Attempt], by: str) -> str:
    """How many attempts came to what, as Markdown.

    Args:
        attempts: All of them.
        by: What a row stands for: ``damage`` or ``way``.
    """
    rows: dict[str, list[Attempt]] = defaultdict(list)
    for one in attempts:
        rows[getattr(one, by)].append(one)
    rows = dict(sorted(rows.items())) | {"**all**": [one for row in rows.values() for one in row]}
    answers = sorted({one.answer for one in rows["**all**"]} | {READ}, key=lambda answer: (answer != READ, answer))
    lines = [
        f"| {by} | times | {' | '.join(answers)} | longest | most memory |",
        "|---" + "|---:" * (len(answers) + 3) + "|",
    ]
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
    parser.add_argument("--kept", type=Path, default=Path("fuzz_kept"), help="for inputs that were not read well")
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
