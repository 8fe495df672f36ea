import re
from base64 import b64decode
from html.parser import HTMLParser

import pytest
from PIL import Image

from crossmodal.studies.gallery import Picture
from crossmodal.studies.page import Html, Page, html_table
from crossmodal.studies.tables import Column

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
    return path


def test_a_page_is_one_file_that_escapes_all_text(tmp_path, picture):
    page = Page(EVIL, [EVIL], [EVIL])
    columns = [Column(EVIL, lambda row: row), Column("length", lambda row: str(len(row)))]
    page.add(EVIL, html_table(columns, [EVIL, "plain"]), EVIL)
    page.picture(EVIL, picture, EVIL)
    page.write(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    reader = assert_self_contained(text)
    assert "<script" not in text
    # title, heading, warning, line, section, column, cell, paragraph, section and caption
    assert reader.text.count(EVIL) == 10
    assert "alt" in text


def test_a_plot_is_embedded_in_the_page(tmp_path, picture):
    page = Page("study", [], [])
    page.gallery([Picture("Dots", picture, "a dot")])
    page.write(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    content = re.search(r'src="data:image/png;base64,([^"]+)"', text)[1]
    assert b64decode(content) == picture.read_bytes()
    assert 'alt="a dot"' in text


def test_html_is_not_escaped(tmp_path):
    page = Page("study", [], [])
    page.add("one", Html("<b>bold</b>"), "1 < 2")
    page.write(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "<b>bold</b>" in text
    assert "<p>1 &lt; 2</p>" in text
