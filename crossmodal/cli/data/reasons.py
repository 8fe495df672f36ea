"""Lists of files or clips, each with a reason."""

from collections.abc import Sequence


def print_reasons(heading: str, reasons: Sequence[tuple[str, str]], shown: int, hint: str = "") -> None:
    """Print the first names with their reasons, and the number of the others; nothing for an empty list.

    Args:
        heading: Text after the number of entries.
        reasons: Pairs of a name and its reason.
        shown: Number of entries to print.
        hint: Text after the number of entries that are not printed.
    """
    if reasons:
        print(f"{len(reasons)} {heading}:")
    for name, reason in reasons[:shown]:
        print(f"  {name}: {reason}")
    if len(reasons) > shown:
        print(f"  ... and {len(reasons) - shown} more{hint}")
