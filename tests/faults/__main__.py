"""`python -m tests.faults [NUMBER [SIGNAL ...]]`: send NUMBER signals at random times, and print where they hit."""

import random
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.conftest import write_tiny_videos
from tests.faults.harness import Bench, Outcome, draw_stops, table

SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT")


def main(number: int, names: Sequence[str] = SIGNALS, seed: int = 0) -> int:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # else children of a background job ignore it
    signals = [signal.Signals[name] for name in names]
    rng = random.Random(seed)
    wrong, outcomes = [], list[Outcome]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bench = Bench(folder, write_tiny_videos(folder / "corpus"))
        bench.finish("whole")
        whole = bench.results("whole")
        while (count := sum(one.hit is not None for one in outcomes)) < number:
            outcomes += bench.survive(run := f"run after {count}", draw_stops(rng, signals)[: number - count])
            results = bench.results(run)
            wrong += [f"{run}: {file}" for file in whole if results.get(file) != whole[file]]
            print(f"{len(outcomes)} signals sent, {len(wrong)} wrong results", flush=True)
    print(table(outcomes))
    for one in wrong:
        print(one)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 14, sys.argv[2:] or SIGNALS))
