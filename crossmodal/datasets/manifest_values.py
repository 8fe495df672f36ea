"""One spelling for the values of manifests, whichever program wrote the table."""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]*,[0-9]+")
_THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2},[0-9]{3}")
_MISSING = ("", "-", "nan", "none", "null", "na", "<na>", "n/a", "#n/a")
_WHOLE_NUMBER = re.compile(r"([0-9]+)(?:\.0+|,0)?")


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


def is_missing(text: str) -> bool:
    """Return True for an empty text, and for what programs write in place of a missing value, such as ``nan``."""
    return text.strip().lower() in _MISSING


def with_decimal_point(text: str, is_sure: bool) -> str:
    """Replace a decimal comma. If it is not `is_sure`, ``1,500`` is kept, because it could be one and a half thousand.

    Examples:
        >>> with_decimal_point("1,5", is_sure=False), with_decimal_point("1,500", is_sure=False)
        ('1.5', '1,500')
    """
    is_decimal = _DECIMAL_COMMA.fullmatch(text) and (is_sure or not _THOUSANDS.fullmatch(text))
    return text.replace(",", ".") if is_decimal else text


def shown(names: Iterable[str]) -> str:
    """Return the first names, shortened, for a message."""
    short = [name[:30] for name in names]
    return ", ".join(short[:12]) + (", ..." if len(short) > 12 else "") or "none"


def merge_labels(labels: Iterable[str], preferred: Collection[str] = ()) -> tuple[dict[str, str | None], list[str]]:
    """Return the class of each spelling of a label, None for unlabelled, and notes about spellings that were merged.

    Labels that differ only in case or spaces are one class. Its name is the most frequent spelling, or one of
    `preferred` that occurs.

    Examples:
        >>> merge_labels(["sad", "Sad", "sad", "nan"])[0]
        {'sad': 'sad', 'Sad': 'sad', 'nan': None}
    """
    counts = Counter(labels)
    missing = {text: count for text, count in counts.items() if is_missing(text)}
    spellings: dict[str, Counter[str]] = {}
    for text, count in counts.items():
        if text not in missing:
            spellings.setdefault(_class_key(text), Counter())[one_spelling(text)] += count
    classes = {key: _best(found, preferred) for key, found in spellings.items()}
    merged = {text: None if text in missing else classes[_class_key(text)] for text in counts}
    return merged, _label_notes(missing, spellings, classes)


def _class_key(label: str) -> str:
    return "".join(one_spelling(label).casefold().split())


def _best(spellings: Mapping[str, int], preferred: Collection[str]) -> str:
    return min(spellings, key=lambda name: (name not in preferred, -spellings[name], name))


def _label_notes(
    missing: Mapping[str, int], spellings: Mapping[str, Mapping[str, int]], classes: Mapping[str, str]
) -> list[str]:
    notes = []
    if words := sorted(filter(None, missing)):
        rows = sum(missing[word] for word in words)
        notes.append(f"{rows} row(s) with the label {shown(words)} are unlabelled; if it is a class, rename it")
    for key, found in spellings.items():
        if len(found) > 1:
            others = shown(name for name in sorted(found) if name != classes[key])
            notes.append(f"the label(s) {others} are read as {classes[key][:30]}: they differ only in case or spaces")
    return notes
