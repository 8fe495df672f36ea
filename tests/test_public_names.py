import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import crossmodal

PACKAGES = [
    "crossmodal",
    *(module.name for module in pkgutil.walk_packages(crossmodal.__path__, "crossmodal.") if module.ispkg),
]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_exported_name_is_there_and_none_stands_twice(package):
    module = importlib.import_module(package)
    exported = list(getattr(module, "__all__", ()))
    assert sorted(set(exported)) == sorted(exported)
    assert [name for name in exported if not hasattr(module, name)] == []


def test_the_public_names_are_sorted_and_each_has_a_home():
    assert list(crossmodal.__all__) == sorted(crossmodal.__all__)
    assert crossmodal._HOME.keys() == set(crossmodal.__all__)
    for name, home in crossmodal._HOME.items():
        exported = importlib.import_module(f"crossmodal.{home}").__all__
        assert name in exported
        assert getattr(crossmodal, name) is getattr(sys.modules[f"crossmodal.{home}"], name)


def test_a_type_checker_sees_the_same_names():
    tree = ast.parse(Path(crossmodal.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    seen = {name.name: node.module for node in block.body for name in node.names}
    assert seen == {name: f"crossmodal.{home}" for name, home in crossmodal._HOME.items()}


def test_dir_lists_them_and_another_name_is_an_attribute_error():
    assert set(crossmodal.__all__) <= set(dir(crossmodal))
    with pytest.raises(AttributeError, match="module 'crossmodal' has no attribute 'AudioClasifier'"):
        _ = crossmodal.AudioClasifier


def test_importing_the_package_or_its_command_line_loads_nothing_heavy():
    code = "import sys, crossmodal, crossmodal.cli.main; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {"crossmodal", "crossmodal.cli.main"} <= loaded
    assert not loaded & {"torch", "numpy", "lightning", "timm", "matplotlib", "wandb", "rich", "yaml", "jsonargparse"}
