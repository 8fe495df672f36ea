"""`python -m tests.faults.crowd [NUMBER]`: so many runs at once on an empty cache, and how often each thing is made."""

import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.conftest import write_tiny_videos
from tests.faults.harness import FILES, Bench


def crowd(bench: Bench, number: int) -> Counter[str]:
    """Start the same command so many times at once, and wait; returns how often each thing in their cache was made."""
    victims = [bench.start(f"one of {number}, {one}", "--data.cache=../shared cache") for one in range(number)]
    for victim in victims:
        assert victim.wait() == 0, victim.output
        assert "Traceback" not in victim.output, victim.output
    cache = (bench.folder / "shared cache").resolve()
    written = [Path(line) for victim in victims for line in (victim.folder / FILES).read_text().splitlines()]
    # What is remembered of files, such as their sums, lies at the top, and is added to by all.
    return Counter(str(path.relative_to(cache)) for path in written if cache in path.parent.parents)


def main(number: int) -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bench = Bench(folder, write_tiny_videos(folder / "corpus"))
        bench.finish("whole")
        made = crowd(bench, number)
        whole = bench.results("whole")
        wrong = [one for one in range(number) if bench.results(f"one of {number}, {one}") != whole]
    print("| things | how many | made more than once |\n|---|---|---|")
    for kind in sorted({Path(path).parts[0] for path in made}):
        times = [count for path, count in made.items() if Path(path).parts[0] == kind]
        print(f"| {kind} | {len(times)} | {sum(count > 1 for count in times)} |")
    print(f"{number} runs at once, {len(wrong)} with a result that differs from that of one alone")
    return bool(wrong) or max(made.values()) > 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 8))
