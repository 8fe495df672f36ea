import json
import linecache
import sys
import types

import pytest
import torch
from torch import nn

from crossmodal.errors import ConfigError, UntrustedCodeError
from crossmodal.naming import Part, stored
from crossmodal.own_code import own_code_of, own_sources, trusting


class Width(nn.Module):
    def __init__(self, in_features, width=4, sizes=(1, 2), part=None):
        super().__init__()
        self.in_features, self.width, self.sizes, self.part = in_features, width, sizes, part


class Forgetful(nn.Module):
    def __init__(self, width):
        super().__init__()


class Open(Width):
    def __init__(self, depth=1, **options):
        super().__init__(**options)
        self.depth = depth


class Optional(nn.Module):
    def __init__(self, untyped=1, typed: int = 2, either: int | None = 3, text: "int | None" = 4):
        super().__init__()
        self.values = (untyped, typed, either, text)


TABLE = {"linear": nn.Linear, "width": Width}
HERE = __name__


def parse(given, **kwargs):
    return Part.parse("thing", TABLE, given, kwargs, nn.Module)


OPEN = f"{HERE}.Open"


@pytest.mark.parametrize(
    ("given", "kwargs"),
    [
        (OPEN, {"width": 8}),
        ({"class_path": OPEN, "init_args": {"width": 8}}, {}),
        ({"class_path": OPEN, "init_args": {"width": 7}}, {"width": 8}),
        (Open, {"width": 8}),
        (Open(in_features=3, width=8), {}),
    ],
    ids=["path", "init_args", "merged", "class", "instance"],
)
def test_all_forms_give_the_same_part(given, kwargs):
    part = parse(given, **kwargs)
    made = part.create({"in_features": 3, "unknown_to_it": 1})
    assert (type(made), made.in_features, made.width, made.depth) == (Open, 3, 8, 1)
    assert part.name == OPEN
    kwargs = json.loads(json.dumps(part.stored_kwargs(["in_features"])))
    assert kwargs == {"depth": 1, "width": 8, "sizes": [1, 2], "part": None}
    again = parse(part.name, **kwargs).create({"in_features": 3})
    assert (type(again), again.width) == (Open, 8)


def test_classes_of_the_table_have_their_short_name():
    assert [parse(given).name for given in ("width", Width, Width(1), f"{HERE}.Width")] == ["width"] * 4


def test_arguments_that_are_parts():
    kwargs = parse(Width(1, part=Width(2, width=9))).stored_kwargs(["in_features"])
    inner = {"in_features": 2, "width": 9, "sizes": [1, 2], "part": None}
    assert kwargs["part"] == {"class_path": f"{HERE}.Width", "init_args": inner}
    assert stored({"a": (Open, 1.5)}) == {"a": [OPEN, 1.5]}


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ("widht", "'width'"),
        ("widht", "my_module.MyClass"),
        ("no_such_module.Open", "no module 'no_such_module'"),
        (f"{HERE}.Opne", "no class 'Opne'"),
        (f"{HERE}.parse", "else than a class"),
        ("collections.OrderedDict", "subclass"),
        (3, "class path"),
        ({"class": OPEN}, "class_path"),
        ({"class_path": OPEN, "init_arg": {}}, "init_arg"),
    ],
)
def test_errors_of_what_is_given(given, word):
    with pytest.raises(ConfigError, match=word):
        parse(given)


def test_a_module_that_cannot_be_imported(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "broken_parts.py").write_text("import no_such_dependency")
    (tmp_path / "wrong_parts.py").write_text("\n1 / 0")
    with pytest.raises(ConfigError, match=r"no_such_dependency.*broken_parts.py, line 1"):
        parse("broken_parts.Open")
    with pytest.raises(ConfigError, match=r"ZeroDivisionError.*wrong_parts.py, line 2"):
        parse("wrong_parts.Open")


def test_errors_of_arguments():
    for part, word in ((parse(Open, widht=1), "width"), (parse(Forgetful), "'width'")):
        with pytest.raises(ConfigError, match=word):
            part.create({"in_features": 1})
    with pytest.raises(ConfigError, match="takes no arguments"):
        parse(Open(in_features=1), width=1)


def test_what_cannot_be_saved_still_works():
    class Local(nn.Module):
        pass

    for given in (Forgetful(1), Local, Local(), Width(1, part=lambda: 1), Width(1, part=torch.zeros(2))):
        part = parse(given)
        assert isinstance(part.create({}), nn.Module)
        with pytest.raises(ConfigError, match="saved"):
            part.stored_kwargs(["in_features"])


def test_only_trusted_files_import_classes():
    with own_code_of("model.json"):
        with pytest.raises(UntrustedCodeError, match=r"model.json.*trust_own_code"):
            parse("no_such_module.Open")
        with trusting(), own_code_of("inner.json"), pytest.raises(UntrustedCodeError, match=r"model\.json"):
            parse(OPEN)
        with pytest.raises(UntrustedCodeError):  # a class that our module imports
            Part.parse("thing", {}, "crossmodal.naming.partial")
        assert parse(Open).name == OPEN  # given by the caller, not by the file
        assert parse("crossmodal.models.LSTMEncoder").create({"in_features": 2}).out_features > 0
    with trusting(), own_code_of("model.json"):
        assert parse(OPEN).name == OPEN


def test_sources_of_own_classes(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "sourced_base.py").write_text("from torch import nn\nclass Base(nn.Module):\n    pass")
    (tmp_path / "sourced.py").write_text("import sourced_base\nclass Own(sourced_base.Base):\n    pass")
    own = parse("sourced.Own").create({})
    before = own_sources([own, nn.Linear(1, 1), torch.zeros(1)])
    assert before.keys() == {"sourced", "sourced_base"}
    (tmp_path / "sourced_base.py").write_text("from torch import nn\nclass Base(nn.Module):\n    '''Changed.'''")
    after = own_sources([own])
    assert (before["sourced"], before["sourced_base"] != after["sourced_base"]) == (after["sourced"], True)


def test_none_is_the_default_only_if_it_is_no_valid_value():
    part = parse(Optional, untyped=None, typed=None, either=None, text=None)
    assert part.create({}).values == (None, 2, None, None)
    assert part.stored_kwargs([]) == {"untyped": None, "typed": 2, "either": None, "text": None}


def test_sources_of_a_class_in_a_notebook(monkeypatch):
    def digest(cell, width):
        source = f"class Own:\n    def width(self):\n        return {width}\nclass Then(Own):\n    pass\n"
        monkeypatch.setitem(linecache.cache, cell, (len(source), None, source.splitlines(True), cell))
        names = {"__name__": "notebook"}
        exec(compile(source, cell, "exec"), names)
        return own_sources([names["Then"]()])["notebook"]

    monkeypatch.setitem(sys.modules, "notebook", types.ModuleType("notebook"))
    assert digest("<cell 1>", 1) == digest("<cell 2>", 1) != digest("<cell 3>", 2)
