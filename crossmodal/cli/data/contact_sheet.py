"""Contact sheet of face crops for visual inspection."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from crossmodal.datasets.cache import PreparedCorpus
from crossmodal.datasets.stored_array import read_array
from crossmodal.storage import atomic_path

_CAPTION = 14  # pixels above each row


def draw_contact_sheet(corpus: PreparedCorpus, clips: Sequence[str], path: Path) -> None:
    """Write a PNG with one row per clip: its name, and below it the face crops in order of time."""
    rows = [(clip, read_array(corpus.faces[clip])) for clip in clips]
    strips = [(clip, np.concatenate(crops.transpose(0, 2, 3, 1), axis=1)) for clip, crops in rows if crops is not None]
    height, width = strips[0][1].shape[:2]
    sheet = Image.new("RGB", (width, len(strips) * (height + _CAPTION)), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (clip, strip) in enumerate(strips):
        top = row * (height + _CAPTION)
        draw.text((2, top + 1), clip, fill="black")
        sheet.paste(Image.fromarray(strip), (0, top + _CAPTION))
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG")
