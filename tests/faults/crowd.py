"""`python -m tests.faults.crowd [NUMBER]`: start NUMBER runs at once on an empty cache, and count written files."""

import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.conftest import write_tiny_videos
from tests.faults.harness import FILES, Bench


def crowd(bench: Bench, number: int) -> Counter[str]:
    """Start parallel runs of the same command and wait; return how often each cache entry was written."""
    victims = [bench.start(f"one of {number}, {one}", "--data.cache=../shared cache") for one in range(number)]
    for victim in victims:
        victim.assert_ends(0)
    cache = (bench.folder / "shared cache").resolve()
    written = [Path(line) for victim in victims for line in (victim.folder / FILES).read_text().splitlines()]
    # Files at the top, such as the hashes of files, are shared and updated by all runs.
    return Counter(str(path.relative_to(cache)) for path in written if cache in path.parent.parents)


def main(number: int) -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bench = Bench(folder, write_tiny_videos(folder / "corpus"))
        bench.finish("whole")
        made = crowd(bench, number)
        whole = bench.results("whole")
        wrong = [one for one in range(number) if bench.results(f"one of {number}, {one}") != whole]
    print("| kind | entries | written more than once |\n|---|---|---|")
    for kind in sorted({Path(path).parts[0] for path in made}):
        times = [count for path, count in made.items() if Path(path).parts[0] == kind]
        print(f"| {kind} | {len(times)} | {sum(count > 1 for count in times)} |")
    print(f"{number} parallel runs, {len(wrong)} of them with other results than a single run")
    return bool(wrong) or max(made.values()) > 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 8))
