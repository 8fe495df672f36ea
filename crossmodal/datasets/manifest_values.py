"""One spelling for the values of manifests, whichever program wrote the table."""

import re
import unicodedata

_WHOLE_NUMBER = re.compile(r"([0-9]+)(?:[.,]0+)?")


def speaker_name(text: str) -> str:
    """Return the name of a speaker in one spelling, so that a speaker is recognized in every table.

    Whole numbers have at least two digits and no decimals, as in RAVDESS: pandas writes 1 as 1.0 where another row has
    no speaker. Accents are composed characters, and words have single spaces between them.

    Examples:
        >>> [speaker_name(text) for text in ("1", "1.0", "01", "1001", "Ada  B")]
        ['01', '01', '01', '1001', 'Ada B']
    """
    number = _WHOLE_NUMBER.fullmatch(text)
    return number[1].lstrip("0").zfill(2) if number else one_spelling(text)


def one_spelling(text: str) -> str:
    """Return a text with composed characters, single spaces, and without the decimals of a whole number."""
    number = _WHOLE_NUMBER.fullmatch(text)
    return number[1] if number else unicodedata.normalize("NFC", " ".join(text.split()))
