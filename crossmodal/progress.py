"""The progress bar of everything but training, which has Lightning's."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def progress_bar(memory: float = 30.0) -> Progress:
    """A bar with count and time left, on stderr, so that what a command prints can be piped.

    Args:
        memory: Of how many past seconds the speed is the mean; longer than a few steps take, or no time left is shown.
    """
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        speed_estimate_period=memory,
    )
