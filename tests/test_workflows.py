"""The workflows parse, and the Python versions in them are those of pyproject.toml."""

import importlib.metadata
from pathlib import Path

import pytest
import yaml

WORKFLOWS = sorted((Path(__file__).parents[1] / ".github" / "workflows").glob("*.yml"))


def version(text):
    return tuple(int(part) for part in text.split("."))


@pytest.fixture(scope="module")
def supported():
    """The minor versions in the classifiers, in order."""
    prefix = "Programming Language :: Python :: 3."
    classifiers = importlib.metadata.metadata("crossmodal").get_all("Classifier")
    return sorted((line.split(" :: ")[-1] for line in classifiers if line.startswith(prefix)), key=version)


def jobs(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]


def test_the_classifiers_start_at_the_required_version_without_a_gap(supported):
    assert {path.name for path in WORKFLOWS} >= {"ci.yml", "weekly.yml"}
    assert importlib.metadata.metadata("crossmodal")["Requires-Python"] == f">={supported[0]}"
    minors = [version(one)[1] for one in supported]
    assert minors == list(range(minors[0], minors[-1] + 1))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
class TestEveryWorkflow:
    def test_runs_the_oldest_and_the_newest_supported_python(self, path, supported):
        for name, job in jobs(path).items():
            assert job["strategy"]["matrix"]["python"] == [supported[0], supported[-1]], name

    def test_reads_the_repository_and_writes_nothing(self, path):
        assert yaml.safe_load(path.read_text(encoding="utf-8"))["permissions"] == {"contents": "read"}

    def test_pins_the_major_version_of_each_action(self, path):
        used = [step["uses"] for job in jobs(path).values() for step in job["steps"] if "uses" in step]
        assert used
        assert all(
            version_of.startswith("v") and version_of[1:].isdigit() for version_of in (u.split("@")[1] for u in used)
        )
