"""The workflows parse, and the Python versions in them are those of pyproject.toml."""

import importlib.metadata
import re
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


def test_the_classifiers_start_at_the_required_version_without_a_gap(supported):
    assert {path.name for path in WORKFLOWS} >= {"ci.yml", "weekly.yml"}
    assert importlib.metadata.metadata("crossmodal")["Requires-Python"] == f">={supported[0]}"
    minors = [version(one)[1] for one in supported]
    assert minors == list(range(minors[0], minors[-1] + 1))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_workflow(path, supported):
    """Run the oldest and the newest Python, have no permission to write, and pin the major version of each action."""
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    for name, job in workflow["jobs"].items():
        assert job["strategy"]["matrix"]["python"] == [supported[0], supported[-1]], name
    assert workflow["permissions"] == {"contents": "read"}
    used = [step["uses"] for job in workflow["jobs"].values() for step in job["steps"] if "uses" in step]
    assert used
    assert [action for action in used if not re.search(r"@v\d+$", action)] == []
