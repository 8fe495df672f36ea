import importlib
import sys

import pytest

from crossmodal import installation
from crossmodal.errors import InstallationError, MissingExtraError
from crossmodal.installation import TORCH_SET, explain_torch_set, import_errors, installed_version, requirements

REQUIRED = {one.name: one for one in requirements()}


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that installs a library whose import runs the given code."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(name, code, version="1.2.3"):
        (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
        about = tmp_path / f"{name}-{version}.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (about / "RECORD").write_text(f"{name}.py,,\n")
        importlib.invalidate_caches()
        monkeypatch.delitem(sys.modules, name, raising=False)

    return write


def fail_to_import(name):
    with pytest.raises(InstallationError) as raised, import_errors():
        importlib.import_module(name)
    return str(raised.value)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise OSError('undefined symbol: abc')", "outerlib 1.2.3"),
        ("raise RuntimeError('no operator')", "outerlib 1.2.3"),
        ("raise ImportError('x')", "outerlib 1.2.3"),
        ("import brokenlib", "brokenlib 1.2.3"),  # the library that failed, not the one that imports it
        ("import a_missing_library", "a_missing_library is not installed"),
    ],
)
def test_the_library_that_failed_is_named_with_its_version(install, code, words):
    install("brokenlib", "raise OSError('undefined symbol')")
    install("outerlib", code)
    message = fail_to_import("outerlib")
    assert words in message
    assert "pip install" in message


def test_a_library_of_the_torch_set_is_explained_by_the_whole_set(install, monkeypatch):
    install("outerlib", "raise OSError('undefined symbol')")
    monkeypatch.setattr(installation, "TORCH_SET", ("outerlib", "torch"))
    message = fail_to_import("outerlib")
    assert f"outerlib 1.2.3, torch {installed_version('torch')}" in message


def test_errors_of_ours_and_errors_after_the_import_stay_what_they_are(install):
    install("workinglib", "def work():\n    raise OSError('disk')")
    with pytest.raises(OSError, match="disk"), import_errors():
        importlib.import_module("workinglib").work()
    install("brokenlib", "from crossmodal.errors import MissingExtraError\nraise MissingExtraError('an extra')")
    with pytest.raises(MissingExtraError), import_errors():
        importlib.import_module("brokenlib")


class TestTheTorchSet:
    @pytest.fixture
    def found(self, monkeypatch):
        versions = {}
        monkeypatch.setattr(installation, "installed_version", versions.get)
        return versions

    def test_versions_out_of_bounds_are_listed_with_the_bounds(self, found):
        found |= {"torch": "2.12.1", "torchvision": "0.27.1", "torchaudio": "2.11.1"}
        message = explain_torch_set(OSError("Could not load this library\nsecond line"))
        assert "torch 2.12.1, torchvision 0.27.1, torchaudio 2.11.1" in message
        bounds = [str(bound) for name in found for bound in REQUIRED[name].specifier]
        assert len(bounds) >= 3 and all(bound in message for bound in bounds)
        assert "second line" not in message
        assert "--force-reinstall" not in message
        del found["torchvision"]
        assert "torchvision (missing)" in explain_torch_set("ModuleNotFoundError")

    def test_damage_within_the_bounds_is_reinstalled(self, found):
        for name in TORCH_SET:
            lower = next(bound.version for bound in REQUIRED[name].specifier if bound.operator == ">=")
            found[name] = f"{lower}+cpu"
        assert "--force-reinstall" in explain_torch_set("OSError")


def test_the_running_set_is_within_the_bounds():
    for name in TORCH_SET:
        assert REQUIRED[name].specifier.contains(installed_version(name), prereleases=True)
