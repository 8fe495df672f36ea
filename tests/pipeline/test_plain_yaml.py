import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from crossmodal.errors import ConfigError
from crossmodal.pipeline.plain_yaml import load_yaml
from crossmodal.pipeline.settings import parse_settings

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{one}'] * 10)}]\n" for one, after in zip("abcdef", "bcdefg", strict=True)
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.text("abc xyz", min_size=1),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=4),
)


@given(values)
def test_what_is_plain_is_as_it_was(value):
    assert load_yaml(yaml.safe_dump({"key": value, "other": 1})) == {"key": value, "other": 1}


def test_anchors_are_welcome():
    assert load_yaml("a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: [*a, *a]\n") == {
        "a": {"x": 1},
        "b": {"x": 1, "y": 2},
        "c": [{"x": 1}] * 2,
    }


def test_numbers_and_dates_are_read_as_on_the_command_line():
    assert load_yaml("lr: 1e-3\nname: 2020-02-02\nnone: .nan\n") | {"none": 0} == {
        "lr": 1e-3,
        "name": "2020-02-02",
        "none": 0,
    }
    assert math.isnan(load_yaml("a: .nan\nb: 1")["a"])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (LAUGHS, "more than 100,000 values"),
        ("data: &a {x: *a}\n", "holds itself"),
        ("name: &a [*a]\n", "holds itself"),
        ("data: &a\n  <<: *a\n", "holds itself"),
        ("name: " + "[" * 100_000, "more than 100 levels"),
        ("name: " + "9" * 5_000, "5000 digits"),
        ("name: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
    ],
    ids=lambda value: value[:12],
)
def test_what_nobody_can_walk_through_is_refused(tmp_path, text, told):
    with pytest.raises(yaml.YAMLError, match=told):
        load_yaml(text)
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError, match=told):
        parse_settings([f"--config={tmp_path / 'mine.yaml'}"])
