"""The progress bar of everything but training, which has Lightning's."""

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)


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


def transfer_bar() -> Progress:
    """Bars of bytes, with rate and time left, on stderr."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
