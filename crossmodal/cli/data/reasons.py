"""Lists of files or clips, each with a reason."""

from collections.abc import Sequence


def print_reasons(heading: str, reasons: Sequence[tuple[str, str]], shown: int, hint: str = "") -> None:
    """Print the number of reasons and a heading, the first names with reasons, and the number of others with a hint."""
    if reasons:
        print(f"{len(reasons)} {heading}:")
    for name, reason in reasons[:shown]:
        print(f"  {name}: {reason}")
    if len(reasons) > shown:
        print(f"  ... and {len(reasons) - shown} more{hint}")
