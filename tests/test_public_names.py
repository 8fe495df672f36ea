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
def test_every_exported_name_exists_once(package):
    module = importlib.import_module(package)
    exported = list(getattr(module, "__all__", ()))
    assert sorted(set(exported)) == sorted(exported)
    assert [name for name in exported if not hasattr(module, name)] == []


def test_public_names_are_sorted_and_importable():
    assert list(crossmodal.__all__) == sorted(crossmodal.__all__)
    assert crossmodal._HOME.keys() == set(crossmodal.__all__)
    for name, home in crossmodal._HOME.items():
        module = importlib.import_module(f"crossmodal.{home}")
        assert name in getattr(module, "__all__", dir(module))
        assert getattr(crossmodal, name) is getattr(sys.modules[f"crossmodal.{home}"], name)


def test_dir_lists_public_names_and_unknown_names_raise():
    assert set(crossmodal.__all__) <= set(dir(crossmodal))
    with pytest.raises(AttributeError, match="AudioClasifier"):
        _ = crossmodal.AudioClasifier


def test_type_checkers_see_the_same_names():
    tree = ast.parse(Path(crossmodal.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    imported = {name.name: node.module for node in block.body for name in node.names}
    assert imported == {name: f"crossmodal.{home}" for name, home in crossmodal._HOME.items()}


def test_importing_package_and_command_line_is_light():
    code = "import sys, crossmodal, crossmodal.cli.main; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {"crossmodal", "crossmodal.cli.main"} <= loaded
    assert not loaded & {"torch", "numpy", "lightning", "timm", "matplotlib", "wandb", "rich", "yaml", "jsonargparse"}
