"""A report as one self-contained HTML file, without scripts, fonts or external images."""

from base64 import b64encode
from collections.abc import Sequence
from html import escape
from pathlib import Path

from crossmodal.studies.gallery import Picture
from crossmodal.studies.tables import Column, Row, write_text

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 72rem; margin: 2rem auto;
  padding: 0 1rem; }
h1, h2 { line-height: 1.2; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #bbb; }
.warning { border-left: 6px solid #a3201a; background: #fbeceb; padding: .5rem 1rem; font-weight: 600; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #ddd; vertical-align: top; }
td { white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: normal; }
thead th { border-bottom: 2px solid #333; }
figure { margin: 1rem 0; }
img { max-width: 100%; height: auto; }
figcaption { color: #444; font-size: .9rem; }
@media print { body { max-width: none; } h2 { break-after: avoid; } figure, tr { break-inside: avoid; } }
"""


class Html(str):
    """Text that is already HTML; other text is escaped."""


class Page:
    """A page that is filled from top to bottom.

    Args:
        title: Heading of the page.
        warnings: Warnings about all numbers.
        lines: Paragraphs below the warnings.
    """

    def __init__(self, title: str, warnings: Sequence[str], lines: Sequence[str]) -> None:
        self._title = title
        self._parts = [f"<h1>{escape(title)}</h1>"]
        self._parts += [f'<p class="warning">{escape(warning)}</p>' for warning in warnings]
        self._parts += [_paragraph(line) for line in lines]

    def add(self, heading: str, *parts: str) -> None:
        """Add a section; `Html` is added as is, other text as paragraphs."""
        self._parts.append(f"<h2>{escape(heading)}</h2>")
        self._parts += [part if isinstance(part, Html) else _paragraph(part) for part in parts]

    def picture(self, heading: str, path: Path, caption: str) -> None:
        """Add a section with an embedded PNG."""
        content = b64encode(path.read_bytes()).decode()
        image = f'<img alt="{escape(caption)}" src="data:image/png;base64,{content}">'
        self.add(heading, Html(f"<figure>{image}<figcaption>{escape(caption)}</figcaption></figure>"))

    def gallery(self, pictures: Sequence[Picture]) -> None:
        """Add a section for each plot."""
        for one in pictures:
            self.picture(one.heading, one.path, one.caption)

    def write(self, path: Path) -> None:
        """Write the file atomically."""
        head = f'<meta charset="utf-8">\n<title>{escape(self._title)}</title>\n<style>{_STYLE}</style>'
        body = "\n".join(self._parts)
        write_text(
            path, f'<!doctype html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n{body}\n</body>\n</html>\n'
        )


def html_table(columns: Sequence[Column[Row]], rows: Sequence[Row]) -> Html:
    """Return a table with escaped cells."""
    head = "".join(f"<th>{escape(column.heading)}</th>" for column in columns)
    body = "\n".join(f"<tr>{''.join(f'<td>{escape(one.cell(row))}</td>' for one in columns)}</tr>" for row in rows)
    return Html(f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>')


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"
