import re
import shutil
from pathlib import Path
from typing import ClassVar

import pytest
import yaml

from crossmodal.errors import ConfigError
from crossmodal.losses import ALIGN_LOSSES, KD_LOSSES
from crossmodal.pipeline.settings import parse_settings
from crossmodal.storage import write_json
from crossmodal.studies import grid
from crossmodal.studies.grid import plan
from crossmodal.studies.study_file import read_study
from tests.studies.conftest import APPLICATIONS, METHODS, cells_of

CONFIGS = Path(__file__).parents[2] / "configs"
STUDIES = sorted((CONFIGS / "studies").glob("*.yaml"))


class TestPlan:
    def test_the_grid_is_methods_by_folds_by_seeds(self, write_study):
        cells = cells_of(write_study(folds=[0, 2], seeds=[1, 5]))
        assert list(cells) == [
            f"{method}_fold{fold}_seed{seed}" for seed in (1, 5) for method in ("mse", "default") for fold in (0, 2)
        ]
        cell = cells["mse_fold2_seed5"]
        assert (cell.method, cell.self_taught, cell.fold, cell.seed) == ("mse", False, 2, 5)
        assert cell.folder == write_study().parent / "out" / "runs" / "mse_fold2_seed5"

    def test_the_grid_is_applications_by_protocols_by_folds_by_seeds(self, write_study):
        cells = cells_of(write_study(**APPLICATIONS, protocols=["seq6", "random"], folds=[0, 2], seeds=[1]))
        assert list(cells) == [
            f"voice_{protocol}_fold{fold}_seed1" for protocol in ("seq6", "random") for fold in (0, 2)
        ]
        assert len({cell.key for cell in cells.values()}) == 4

    VOICE_AND_ALL: ClassVar = {"voice": "voice.yaml", "all": [{"data": {"batch_size": 4}}]}

    @pytest.mark.parametrize(
        "study", [{"self_distillation": True}, {"applications": VOICE_AND_ALL, "protocols": ["seq6", "random"]}]
    )
    def test_fit_parses_the_arguments_to_the_same_settings(self, write_study, study):
        for cell in cells_of(write_study(**study, seeds=[3]), "--data.batch_size", "8").values():
            settings = parse_settings(cell.args)
            assert settings["trainer"].pop("enable_progress_bar") is False
            assert settings == cell.settings
            assert settings["data"] == {**settings["data"], "fold": 0, "batch_size": 8}
            assert settings["seed_everything"] == 3
            if cell.kind == "application":
                assert settings["data"]["allow_speaker_leakage"] == (settings["data"]["protocol"] == "random")

    def test_methods_with_a_face_teacher_get_self_distillation(self, write_study):
        nothing = {"transfer": {"model": {"kd_loss": None, "align_loss": None}}}
        voice, fusion = ({"teaching": {"by": by}} for by in ("voice", "both"))
        methods = METHODS | {"nothing": nothing, "voice": voice, "fusion": fusion}
        cells = cells_of(write_study(self_distillation=True, methods=methods, seeds=[0]))
        assert [name.split("_fold")[0] for name in cells] == [
            *("mse", "mse_self", "default", "default_self", "nothing", "voice", "fusion", "fusion_self")
        ]
        for name, cell in cells.items():
            assert cell.self_taught == ("_self" in name)
            assert (cell.settings.get("teaching", {}).get("by") == "voice") == (cell.self_taught or name[0] == "v")
        assert cells["mse_self_fold0_seed0"].settings["transfer"] == cells["mse_fold0_seed0"].settings["transfer"]

    def test_configs_override_in_order_and_are_relative_to_the_file(self, write_study, tmp_path):
        for name, delta in (("a", {"encoder": "cnn", "dropout": 0.5}), ("b", {"encoder": "tdnn"})):
            (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({"transfer": {"model": delta}}))
        (cell,) = cells_of(write_study(configs=["a.yaml", "b.yaml"], methods={"one": {}}, seeds=[0])).values()
        model = cell.settings["transfer"]["model"]
        assert (model["encoder"], model["dropout"]) == ("tdnn", 0.5)

    def test_the_command_line_overrides_the_methods(self, write_study):
        methods = {"mse": {"transfer": {"model": {"align_loss_weight": 2.0}, "trainer": {"max_epochs": 7}}}}
        (cell,) = cells_of(write_study(methods=methods, seeds=[0]), "--transfer.trainer.max_epochs=3").values()
        assert cell.settings["transfer"]["trainer"]["max_epochs"] == 3
        assert cell.settings["transfer"]["model"]["align_loss_weight"] == 2.0

    def test_cell_json_has_the_values_for_reports(self, write_study):
        sections = [{"transfer": {"model": {"encoder": encoder}}} for encoder in ("cnn", "tdnn")]
        applications = {"voice": "voice.yaml", "default": [{"data": {"channel": "song"}}]}
        applications |= {"later": ["voice.yaml", *sections]}
        cells = cells_of(write_study(applications=applications, seeds=[0]))
        about = cells["voice_fold0_seed0"].about
        expected = {"study": "out", "application": "voice", "fold": 0, "seed": 0, "front_end": "lmfb"}
        assert about == expected | {"encoder": "dense", "key": about["key"]}
        assert cells["default_fold0_seed0"].about["encoder"] == "lstm"
        later = cells["later_fold0_seed0"].about
        assert (later["front_end"], later["encoder"]) == ("lmfb", "tdnn")


class TestLabelledActorsAndStudents:
    AXES: ClassVar = {
        "students": {"lmfb": "voice.yaml", "cnn": ["voice.yaml", {"transfer": {"model": {"encoder": "cnn"}}}]},
        "labelled_actors": [2, None],
        "seeds": [0, 1],
    }

    def test_every_method_teaches_every_student_with_every_number_of_labels(self, write_study):
        cells = cells_of(write_study(**self.AXES))
        assert list(cells) == [
            f"{method}_{student}_labelled{labelled}_fold0_seed{seed}"
            for seed in (0, 1)
            for student in ("lmfb", "cnn")
            for labelled in (2, "all")
            for method in ("mse", "default")
        ]
        assert len({cell.key for cell in cells.values()}) == len(cells)

    def test_the_settings_have_the_student_and_the_number(self, write_study):
        cells = cells_of(write_study(**self.AXES))
        for name, cell in cells.items():
            model = cell.settings["transfer"]["model"]
            assert (model["front_end"], model["encoder"]) == ("lmfb", "cnn" if "_cnn_" in name else "dense")
            assert (model.get("kd_loss", "default") is None) == name.startswith("mse")
            assert cell.settings["data"].get("labelled_actors") == (2 if "_labelled2_" in name else None)
            assert ("--data.labelled_actors" in cell.args) == ("_labelled2_" in name)

    def test_a_method_overrides_the_student_and_the_student_the_configs(self, write_study, tmp_path):
        (tmp_path / "config.yaml").write_text("transfer: {model: {encoder: tdnn, dropout: 0.5}}")
        methods = {"one": {"transfer": {"model": {"front_end": "mfcc"}}}}
        path = write_study(configs=["config.yaml"], students={"lmfb": "voice.yaml"}, methods=methods, seeds=[0])
        (cell,) = cells_of(path).values()
        model = cell.settings["transfer"]["model"]
        assert (model["encoder"], model["front_end"], model["dropout"]) == ("dense", "mfcc", 0.5)

    def test_cell_json_has_student_number_and_teacher(self, write_study):
        methods = {"default": {}, "fusion": {"teaching": {"by": "both"}}}
        cells = cells_of(write_study(**self.AXES, methods=methods, self_distillation=True))
        about = cells["fusion_cnn_labelled2_fold0_seed1"].about
        assert (about["student"], about["labelled_actors"], about["teacher"]) == ("cnn", 2, "both")
        about = cells["default_lmfb_labelledall_fold0_seed0"].about
        assert (about["student"], about["labelled_actors"], about["teacher"]) == ("lmfb", None, "face")
        assert cells["fusion_self_cnn_labelled2_fold0_seed1"].about["teacher"] == "voice"
        assert "labelled_actors" not in cells_of(write_study())["mse_fold0_seed0"].about

    def test_both_can_be_narrowed(self, write_study):
        study = read_study(write_study(**self.AXES)).narrow(["mse"], ["cnn"], labelled_actors=[4, None], seeds=[7])
        names = [cell.folder.name for cell in plan(study, Path("out"))]
        assert names == [f"mse_cnn_labelled{number}_fold0_seed7" for number in (4, "all")]
        with pytest.raises(ConfigError, match=r"'gone'.*lmfb, cnn"):
            read_study(write_study(**self.AXES)).narrow(students=["gone"])

    def test_all_actors_cannot_be_limited_by_a_file_or_the_command_line(self, write_study, monkeypatch):
        monkeypatch.setattr(grid, "parse_settings", lambda args: {"data": {"labelled_actors": 2}, "transfer": {}})
        with pytest.raises(ConfigError, match="--labelled"):
            cells_of(write_study(**self.AXES))
        with pytest.raises(ConfigError, match=r"command line sets data\.labelled_actors"):
            cells_of(write_study(**self.AXES), "--data.labelled_actors", "2")


class TestIsFinished:
    @staticmethod
    def finish(cell):
        write_json(cell.folder / "summary.json", {})
        write_json(cell.folder / "cell.json", cell.about)

    def test_a_finished_run_has_both_files_and_the_same_settings(self, write_study):
        cell = cells_of(write_study())["mse_fold0_seed0"]
        assert not cell.is_finished
        self.finish(cell)
        assert cell.is_finished
        assert cells_of(write_study())["mse_fold0_seed0"].is_finished
        assert not cells_of(write_study(), "--transfer.trainer.max_epochs=3")["mse_fold0_seed0"].is_finished
        other = write_study(methods={"mse": {"transfer": {"model": {"align_loss_weight": 1.0}}}})
        assert not cells_of(other)["mse_fold0_seed0"].is_finished
        (cell.folder / "summary.json").unlink()
        assert not cell.is_finished

    def test_a_moved_run_is_finished(self, write_study, tmp_path):
        self.finish(cells_of(write_study())["mse_fold0_seed0"])
        shutil.move(tmp_path / "out", tmp_path / "elsewhere")
        cells = {cell.folder.name: cell for cell in plan(read_study(write_study()), tmp_path / "elsewhere")}
        assert cells["mse_fold0_seed0"].is_finished


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.name)
def test_every_study_can_be_planned(path):
    cells = plan(read_study(path), Path("out"), ["--data.root", "ravdess", "--data.face_features", "au.csv"])
    assert len({cell.folder for cell in cells}) == len(cells)
    # All methods must have the same number of epochs, so that their budgets are equal.
    stages = [[cell.settings[stage]["trainer"] for stage in ("transfer", "finetune")] for cell in cells]
    assert len({one["max_epochs"] + other["max_epochs"] for one, other in stages}) == 1


def test_the_study_of_teaching_has_every_loss():
    path = CONFIGS / "studies" / "teaching.yaml"
    words = set(re.findall(r"[a-z_]+", path.read_text()))
    study = read_study(path)
    assert study.self_distillation
    assert len(study.methods) >= 12
    assert len(study.seeds) >= 3
    assert {*KD_LOSSES, *ALIGN_LOSSES} <= words


def test_the_study_of_applications_has_all_applications():
    study = read_study(CONFIGS / "studies" / "applications.yaml")
    assert {path.stem for path in (CONFIGS / "applications").glob("*.yaml")} <= study.applications.keys()
    assert list(study.protocols) == ["seq6", "random"]
    # Each song application has a speech application with the same model, emotions and training.
    voices = {"song": [], "speech6": []}
    for cell in plan(study, Path("out")):
        data = cell.settings["data"]
        labels = data.get("label_set") or data["channel"]
        if (cell.fold, cell.seed, cell.stages) == (0, 0, ["supervised", "control"]) and labels in voices:
            voices[labels].append(str(cell.settings["transfer"]))
    assert sorted(voices["song"]) == sorted(voices["speech6"]) != []
