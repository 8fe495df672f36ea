"""The wheel works without the checkout: it holds everything that it needs, and no tests."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import crossmodal
from crossmodal.storage import read_json

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def run_installed(wheel, tmp_path_factory):
    """Run Python with the wheel and the dependencies of the running environment, but without the checkout.

    A `.pth` file adds the running site-packages. Python reads no `.pth` files in the folders that a `.pth` file adds,
    so an editable install of the checkout stays invisible.
    """
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    paths = {"base": str(folder), "platbase": str(folder)}
    site_packages = Path(sysconfig.get_path("purelib", "venv" if sys.version_info >= (3, 11) else None, paths))
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site_packages)
    running = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site_packages / "dependencies.pth").write_text("\n".join(sorted(running)), encoding="utf-8")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment["OMP_NUM_THREADS"] = "1"  # tests run side by side

    def run(cwd: Path, *args: str) -> str:
        done = subprocess.run([str(python), *args], cwd=cwd, env=environment, capture_output=True, encoding="utf-8")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run.folder = folder
    return run


@pytest.mark.parametrize("folder", ["configs", "crossmodal/apps/serve/page", "crossmodal/evaluation/templates"])
def test_the_wheel_holds_every_config_and_file_of_the_pages(wheel, folder):
    names = {name.removeprefix("crossmodal/") for name in zipfile.ZipFile(wheel).namelist()}
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*") if path.is_file()}
    assert files and {name.removeprefix("crossmodal/") for name in files} <= names


def test_the_wheel_holds_the_package_its_licence_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    info = f"crossmodal-{crossmodal.__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {"crossmodal", info}
    assert {"crossmodal/py.typed", "crossmodal/pipeline/defaults.yaml", f"{info}/licenses/LICENSE"} <= set(names)
    assert not [name for name in names if Path(name).name.startswith(("test_", "conftest")) or "__pycache__" in name]


class TestInAnEmptyFolder:
    def test_the_installed_package_is_imported_not_the_checkout(self, run_installed, tmp_path):
        location = run_installed(tmp_path, "-c", "import crossmodal; print(crossmodal.__file__)").strip()
        assert Path(location).is_relative_to(run_installed.folder)
        assert crossmodal.__version__ in run_installed(tmp_path, "-m", "crossmodal", "--version")
        listed = run_installed(tmp_path, "-m", "crossmodal", "configs")
        assert "ravdess_action_units" in listed and "studies/teaching" in listed

    def test_fit_trains_a_model(self, run_installed, tiny_ravdess, tiny_face_features, tmp_path):
        stages = ("teacher", "transfer", "finetune")
        run_installed(
            tmp_path,
            *("-m", "crossmodal", "fit", "--config", "ravdess_action_units", "--config", "dense"),
            f"--data.root={tiny_ravdess}",
            f"--data.face_features={tiny_face_features}",
            f"--data.cache={tmp_path / 'cache'}",
            "--data.protocol=loso24",
            *(f"--{stage}.trainer.max_epochs=1" for stage in stages),
        )
        folder = tmp_path / "runs" / "ravdess_action_units"
        assert (folder / "model" / "model.safetensors").is_file()
        assert set(read_json(folder / "summary.json")["stages"]) == {"supervised", "control", *stages}

    def test_a_study_is_found_by_name(self, run_installed, tiny_ravdess, tmp_path):
        command = ["-m", "crossmodal", "study", "run", "teaching", "--print-commands", "--data.root", str(tiny_ravdess)]
        lines = run_installed(tmp_path, *command, "--methods", "kd", "--seeds", "0").splitlines()
        assert len(lines) == 8  # four folds, each with a face teacher and a voice teacher
        assert all(line.startswith("python -m crossmodal study run teaching") for line in lines)
