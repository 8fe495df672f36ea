"""Progress bars for everything but training, which uses Lightning's."""

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
    """Create a progress bar with count and remaining time, on stderr so that the output of a command can be piped.

    The speed is the mean over `memory` seconds, which must span a few steps, or no remaining time is shown.
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
    """Create progress bars in bytes with rate and remaining time, on stderr."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
