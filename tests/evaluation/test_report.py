import re
from base64 import b64decode
from html.parser import HTMLParser

import pytest
from PIL import Image
from rich.console import Console

from crossmodal.evaluation.report import Column, Picture, Report, Section, Table, screen_table, write_template

EVIL = '<script src="http://evil.example/x.js">alert("&")</script>'
VOID = {"meta", "img", "br"}


class Reader(HTMLParser):
    """Parser of a page that collects tags, links and text, and checks that all tags are closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "data", "action", "srcset")]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text += data


def assert_self_contained(text: str) -> Reader:
    reader = Reader(text)
    assert not {"script", "link", "iframe", "object", "embed", "form", "a"} & set(reader.tags)
    assert all(link.startswith("data:image/png;base64,") for link in reader.links)
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)[1]
    assert not re.search(r"@import|url\(|//", style)
    return reader


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "dot.png"
    Image.new("RGB", (2, 3), "red").save(path)
    return Picture(path, EVIL)


def make_table(heading="word"):
    """Return a table of words with a column that only wide formats show."""
    columns = [
        Column(heading, str, "short"),
        Column("backwards", lambda word: word[::-1], is_text=True),
        Column("length", lambda word: f"{len(word)} %", "n"),
    ]
    return Table(columns, [["one_a", "three"], ["five"]])


def test_a_page_is_one_file_that_escapes_all_text(tmp_path, picture):
    columns = [Column(EVIL, lambda row: row), Column("length", lambda row: str(len(row)))]
    table = Table(columns, [[EVIL, "plain"]])
    Report(EVIL, [EVIL], [EVIL], [Section(EVIL, [table, EVIL, picture])]).write(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    reader = assert_self_contained(text)
    assert "<script" not in text
    # title, heading, warning, line, section, column, cell, paragraph and caption
    assert reader.text.count(EVIL) == 9
    assert "alt" in text
    content = re.search(r'src="data:image/png;base64,([^"]+)"', text)[1]
    assert b64decode(content) == picture.path.read_bytes()


def test_markdown_has_the_same_content(tmp_path, picture):
    sections = [Section("", [make_table(), "text"]), Section("Plot", [Picture(picture.path, "a dot")])]
    Report("Title", ["Beware."], ["First.", "Second."], sections).write(tmp_path / "report.md")
    assert (tmp_path / "report.md").read_text().rstrip() == (
        "# Title\n\n> **Beware.**\n\nFirst.\n\nSecond.\n\n"
        "| word | backwards | length |\n| --- | --- | ---: |\n| one_a | a_eno | 5 % |\n| three | eerht | 5 % |\n"
        "| five | evif | 4 % |\n\ntext\n\n## Plot\n\n![a dot](dot.png)"
    )


def test_latex_and_screen_have_short_headings_and_a_line_between_groups(tmp_path):
    write_template(tmp_path / "table.tex", "table.tex", table=make_table(), caption="a & b, -1 < 2")
    rows = (tmp_path / "table.tex").read_text().split(r"\toprule")[1]
    assert rows == "\n" + "\n".join(
        [
            *(r"short & n \\", r"\midrule", r"one\_a & 5 \% \\", r"three & 5 \% \\", r"\midrule", r"five & 4 \% \\"),
            *(r"\bottomrule", r"\end{tabular}", r"\caption{a \& b, $-$1 $<$ 2}", r"\end{table*}", ""),
        ]
    )
    console = Console(width=80)
    with console.capture() as printed:
        console.print(screen_table("title", make_table()))
    lines = [" ".join(re.findall(r"\w+", line)) for line in printed.get().splitlines()]
    assert [line for line in lines if line] == ["title", "short n", "one_a 5", "three 5", "five 4"]
