"""Rules of the repository: allowed imports, file length and valid configs."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

import crossmodal
from crossmodal.datasets import clip, ravdess
from crossmodal.datasets.splits import protocols
from crossmodal.losses import factory as losses
from crossmodal.models import factory as models
from crossmodal.models import pooling
from crossmodal.pipeline.settings import STAGES, parse_settings
from crossmodal.transforms import factory as augmentation

PACKAGE = Path(crossmodal.__file__).parent
REPOSITORY = PACKAGE.parent
FILES = sorted(PACKAGE.rglob("*.py"))
STUDIES = sorted((REPOSITORY / "configs" / "studies").glob("*.yaml"))  # parsed in tests/studies/test_grid.py
SWEEPS = sorted((REPOSITORY / "configs" / "sweeps").glob("*.yaml"))  # parsed in tests/test_sweeps.py
CONFIGS = sorted(
    {*(REPOSITORY / "configs").rglob("*.yaml"), *(PACKAGE / "pipeline").glob("*.yaml")} - {*STUDIES, *SWEEPS}
)

SMALL_FILES = {
    "batch",
    "errors",
    "hub_access",
    "installation",
    "labels_for_people",
    "naming",
    "own_code",
    "process_pool",
    "progress",
}
SMALL_FILES |= {"setting_keys", "shipped_configs", "stopping", "storage", "version"}
MODELS = {"models", "losses", "transforms"}
DATA = {"datasets", "media"}
COMMANDS = {"cli"}
# The packages that a package may import, besides itself and the small files. The commands may import all.
MAY_IMPORT = {
    "media": set(),
    "datasets": {"media"},
    "transforms": set(),
    "losses": set(),
    "models": {"transforms"},
    "datamodules": {*DATA, "transforms"},
    "tasks": MODELS,
    "evaluation": MODELS | DATA,
    "inference": {"media", "models", "transforms"},
    "apps": {"evaluation", "inference", "media", "models"},
    "pipeline": MODELS | DATA | {"datamodules", "evaluation", "inference", "tasks"},
    "studies": MODELS | DATA | {"datamodules", "evaluation", "inference", "pipeline", "tasks"},
    **{name: set() for name in SMALL_FILES},
}
WITHOUT_LIGHTNING = {"apps", "evaluation", "inference", *MODELS, *DATA, *SMALL_FILES}
LIGHTNING = {"lightning", "pytorch_lightning", "lightning_fabric", "wandb"}


def package_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, ...]]:
    """Yield all imports of a file as parts: ('crossmodal', 'models', 'AudioClassifier')."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (tuple(name.name.split(".")) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: use absolute imports"
            yield from ((*node.module.split("."), name.name) for name in node.names)


def imported_packages(path: Path) -> set[str]:
    """Return the packages and small files that a file imports; names like crossmodal.__version__ are neither."""
    ours = {parts[1] for parts in imports(path) if parts[0] == "crossmodal" and len(parts) > 1}
    return {name for name in ours if (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file()}


def test_every_package_has_import_rules():
    packages = {package_of(path) for path in FILES} - {"__init__", "__main__"}
    assert packages == COMMANDS | MAY_IMPORT.keys()


@pytest.mark.parametrize("name", sorted(MAY_IMPORT))
def test_a_package_imports_only_lower_packages(name):
    allowed = MAY_IMPORT[name] | SMALL_FILES | {name}
    above = {
        str(path.relative_to(REPOSITORY)): beyond
        for path in FILES
        if package_of(path) == name and (beyond := imported_packages(path) - allowed)
    }
    assert above == {}


@pytest.mark.parametrize("name", sorted(WITHOUT_LIGHTNING))
def test_packages_without_lightning_do_not_import_it_or_wandb(name):
    importers = {
        path.name for path in FILES if package_of(path) == name for parts in imports(path) if parts[0] in LIGHTNING
    }
    assert importers == set()


def test_examples_in_docstrings_are_shown_as_code():
    """Check the name of the section: the site shows `>>>` below ``Example:`` as quotations."""
    assert [
        path.name for path in FILES if re.search(r"^\s+Example:$", path.read_text(encoding="utf-8"), re.MULTILINE)
    ] == []


def test_no_module_has_a_catch_all_name():
    names = {part.removesuffix(".py") for path in FILES for part in path.relative_to(PACKAGE).parts}
    assert not names & {"utils", "util", "common", "core", "helpers", "helper", "misc", "tools"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_have_at_most_300_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_config_is_valid_and_short(path):
    settings = parse_settings(["--config", str(path)])
    stages = settings["stages"].split(",")
    if path.parent.name == "applications":
        assert settings["name"] == path.stem
        assert stages in (["control"], ["teacher"], list(STAGES))
    else:
        assert stages == list(STAGES)
    assert len(path.read_text().splitlines()) <= 30, "a config is a short delta"


def test_the_applications_match_the_thesis():
    """Audio: two front ends, two encoders, two channels; video: two channels; one transfer. Three more have a CNN."""
    assert {path.name for path in CONFIGS} >= {"defaults.yaml", "synthetic.yaml", "ravdess_action_units.yaml"}
    found = {}
    for path in sorted((REPOSITORY / "configs" / "applications").glob("*.yaml")):
        settings = parse_settings(["--config", str(path)])
        model = settings["transfer"]["model"]
        voice = (model["front_end"], model["encoder"]) if settings["stages"] != "teacher" else ()
        found[path.name[:2]] = (settings["stages"], settings["data"]["channel"], *voice)
    numbers = [f"{number:02d}" for number in range(1, 15)]
    voices = [(front_end, encoder) for front_end in ("mfcc", "lmfb") for encoder in ("dense", "lstm")]
    expected = [("control", channel, *voice) for voice in voices for channel in ("speech", "song")]
    expected += [("teacher", "speech"), ("teacher", "song"), (",".join(STAGES), "speech", "mfcc", "lstm")]
    cnn = (("speech", "mfcc"), ("speech", "lmfb"), ("song", "lmfb"))
    expected += [("control", channel, front_end, "cnn") for channel, front_end in cnn]
    assert found == dict(zip(numbers, expected, strict=True))


@pytest.mark.parametrize(
    ("literal", "table"),
    [
        (models.FrontEndName, models._FRONT_ENDS),
        (models.AudioEncoderName, models._AUDIO_ENCODERS),
        (pooling.PoolingName, pooling._POOLINGS),
        (augmentation.AugmentationName, augmentation._AUGMENTATIONS),
        (losses.KDLossName, losses.KD_LOSSES),
        (losses.AlignLossName, losses.ALIGN_LOSSES),
        (protocols.Protocol, protocols.PROTOCOLS),
        (protocols.LabelSet, protocols.LABEL_SETS),
        (clip.Split, clip.SPLITS),
        (ravdess.Channel, protocols.LABEL_SET_OF_CHANNEL),
    ],
    ids=str,
)
def test_literals_match_their_tables(literal, table):
    assert set(get_args(literal)) == set(table)


def test_channels_and_labels_match_ravdess():
    assert set(get_args(ravdess.Channel)) == {*ravdess.CHANNELS.values(), "both"}
    assert tuple(ravdess.EMOTIONS.values()) == protocols.LABEL_SETS["speech8"]


def test_no_file_has_a_local_path():
    local_path = re.compile(r"/(home|Users|work|mnt|root)/\w")
    text = {path: path.read_text(encoding="utf-8") for path in [*FILES, *CONFIGS, *STUDIES, *SWEEPS]}
    assert [str(path) for path, content in text.items() if local_path.search(content)] == []
