import re
import shutil
from pathlib import Path

import pytest
import yaml

from crossmodal.errors import ConfigError
from crossmodal.losses import list_align_losses, list_kd_losses
from crossmodal.pipeline.settings import parse_settings
from crossmodal.storage import write_json
from crossmodal.studies.grid import plan
from crossmodal.studies.study_file import read_study

CONFIGS = Path(__file__).parents[2] / "configs"
STUDIES = sorted((CONFIGS / "studies").glob("*.yaml"))
METHODS = {"mse": {"transfer": {"model": {"kd_loss": None}}}, "default": {}}


@pytest.fixture
def write_study(tmp_path):
    """Write a study's file; what is None is left out."""

    def write(**content) -> Path:
        path = tmp_path / "first.yaml"
        content = {"methods": METHODS} | content
        content = {key: value for key, value in content.items() if value is not None}
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return path

    return write


def cells_of(path, *overrides):
    return {cell.folder.name: cell for cell in plan(read_study(path), path.parent / "out", overrides)}


class TestTheGrid:
    def test_it_is_methods_by_folds_by_seeds(self, write_study):
        cells = cells_of(write_study(folds=[0, 2], seeds=[1, 5]))
        assert list(cells) == [
            f"{method}_fold{fold}_seed{seed}" for seed in (1, 5) for fold in (0, 2) for method in ("mse", "default")
        ]
        cell = cells["mse_fold2_seed5"]
        assert (cell.method, cell.self_taught, cell.fold, cell.seed) == ("mse", False, 2, 5)
        assert cell.folder == write_study().parent / "out" / "runs" / "mse_fold2_seed5"

    def test_fit_understands_a_run_as_the_grid_does(self, write_study):
        for cell in cells_of(write_study(self_distillation=True, seeds=[3]), "--data.batch_size", "8").values():
            settings = parse_settings(cell.args)
            assert settings["trainer"].pop("enable_progress_bar") is False
            assert settings == cell.settings
            assert settings["data"] == {**settings["data"], "fold": 0, "batch_size": 8}
            assert settings["seed_everything"] == 3

    def test_a_second_control_for_every_method_but_those_with_a_voice_teacher_or_no_loss(self, write_study):
        nothing = {"transfer": {"model": {"kd_loss": None, "align_loss": None}}}
        methods = METHODS | {
            "nothing": nothing,
            "voice": {"teaching": {"by": "voice"}},
            "hears": {"teaching": {"by": "both"}},
        }
        cells = cells_of(write_study(self_distillation=True, methods=methods, seeds=[0]))
        assert [name.split("_fold")[0] for name in cells] == [
            *("mse", "mse_self", "default", "default_self", "nothing", "voice", "hears", "hears_self")
        ]
        for name, cell in cells.items():
            assert cell.self_taught == ("_self" in name)
            assert (cell.settings.get("teaching", {}).get("by") == "voice") == (cell.self_taught or name[0] == "v")
        assert cells["mse_self_fold0_seed0"].settings["transfer"] == cells["mse_fold0_seed0"].settings["transfer"]

    def test_configs_are_deltas_in_order_from_where_the_file_is(self, write_study, tmp_path):
        for name, delta in (("a", {"encoder": "cnn", "dropout": 0.5}), ("b", {"encoder": "tdnn"})):
            (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({"transfer": {"model": delta}}))
        (cell,) = cells_of(write_study(configs=["a.yaml", "b.yaml"], methods={"one": {}}, seeds=[0])).values()
        model = cell.settings["transfer"]["model"]
        assert (model["encoder"], model["dropout"]) == ("tdnn", 0.5)

    def test_a_study_may_have_the_methods_of_another(self, write_study, tmp_path):
        theirs = read_study(write_study(folds=[1]))
        (tmp_path / "second.yaml").write_text("methods: first.yaml\nseeds: [7]")
        ours = read_study(tmp_path / "second.yaml")
        assert ours.methods == theirs.methods == METHODS
        assert (list(ours.folds), list(ours.seeds)) == ([0], [7])
        with pytest.raises(ConfigError, match=r"The study .*third.yaml cannot be read"):
            (tmp_path / "second.yaml").write_text("methods: third.yaml")
            read_study(tmp_path / "second.yaml")

    def test_the_command_line_wins_over_the_methods(self, write_study):
        methods = {"mse": {"transfer": {"model": {"align_loss_weight": 2.0}, "trainer": {"max_epochs": 7}}}}
        (cell,) = cells_of(write_study(methods=methods, seeds=[0]), "--transfer.trainer.max_epochs=3").values()
        assert cell.settings["transfer"]["trainer"]["max_epochs"] == 3
        assert cell.settings["transfer"]["model"]["align_loss_weight"] == 2.0


class TestWhatIsFinished:
    @staticmethod
    def finish(cell):
        write_json(cell.folder / "summary.json", {})
        write_json(cell.folder / "cell.json", cell.about)

    def test_a_run_to_its_end_with_these_settings(self, write_study):
        cell = cells_of(write_study())["mse_fold0_seed0"]
        assert not cell.is_finished
        self.finish(cell)
        assert cell.is_finished
        assert cells_of(write_study())["mse_fold0_seed0"].is_finished
        (cell.folder / "summary.json").unlink()
        assert not cell.is_finished

    def test_a_run_with_other_settings_is_not(self, write_study):
        self.finish(cells_of(write_study())["mse_fold0_seed0"])
        assert not cells_of(write_study(), "--transfer.trainer.max_epochs=3")["mse_fold0_seed0"].is_finished
        other = write_study(methods={"mse": {"transfer": {"model": {"align_loss_weight": 1.0}}}})
        assert not cells_of(other)["mse_fold0_seed0"].is_finished

    def test_a_study_that_was_moved_is(self, write_study, tmp_path):
        self.finish(cells_of(write_study())["mse_fold0_seed0"])
        shutil.move(tmp_path / "out", tmp_path / "elsewhere")
        cells = {cell.folder.name: cell for cell in plan(read_study(write_study()), tmp_path / "elsewhere")}
        assert cells["mse_fold0_seed0"].is_finished


class TestWhatRunsShare:
    @pytest.fixture
    def makes(self, write_study):
        """What each of the runs of some methods makes, by its name."""

        def of(**methods):
            path = write_study(methods=methods, folds=[0, 1], seeds=[0, 1], self_distillation=True)
            cells = cells_of(path, "--data.root=somewhere", "--data.face_features=au.csv")
            return {name: cell.makes for name, cell in cells.items()}

        return of

    def test_methods_of_a_fold_and_seed_share_teacher_and_control(self, makes):
        made = makes(mse=METHODS["mse"], kd={"transfer": {"model": {"kd_loss": "kd"}}})
        assert made["mse_fold0_seed0"] == made["kd_fold0_seed0"]
        assert made["mse_self_fold0_seed0"] == made["kd_self_fold0_seed0"]
        assert len(made["mse_fold0_seed0"] & made["mse_self_fold0_seed0"]) == 2  # and the voice teacher is another's

    def test_folds_and_seeds_share_nothing(self, makes):
        made = makes(mse=METHODS["mse"])
        for other in ("mse_fold1_seed0", "mse_fold0_seed1"):
            assert not made["mse_fold0_seed0"] & made[other]

    def test_teachers_of_groups_are_shared_by_those_who_want_as_many(self, makes):
        four, five = ({"teaching": {"cross_fit": number}} for number in (4, 5))
        both = {"teaching": {"cross_fit": 4, "by": "both"}}
        made = makes(plain={}, four=four, also_four=four, five=five, both=both)
        plain, four, five, both = (made[f"{name}_fold0_seed0"] for name in ("plain", "four", "five", "both"))
        assert four == made["also_four_fold0_seed0"]
        assert plain < four
        assert plain < five
        assert four != five
        assert four < both

    def test_another_student_has_another_control(self, makes):
        made = makes(lstm={}, cnn={"transfer": {"model": {"encoder": "cnn"}}})
        lstm, cnn = made["lstm_fold0_seed0"], made["cnn_fold0_seed0"]
        assert lstm - cnn
        assert cnn - lstm
        assert lstm & cnn

    @pytest.mark.parametrize(
        "overrides", [["--data.root=x"], ["--data.face_features=au.csv", "--transfer.model.front_end=ssl"]]
    )
    def test_what_is_computed_once_for_all_folds_is_computed_by_one(self, write_study, overrides):
        cells = cells_of(write_study(folds=[0, 1], seeds=[0]), *overrides)
        assert cells["mse_fold0_seed0"].makes & cells["mse_fold1_seed0"].makes


class TestErrors:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"method": METHODS}, r"Unknown key of .*first.yaml 'method'. Known: methods, .*Did you mean 'methods'"),
            ({"methods": None}, "has no methods to compare"),
            ({"methods": {}}, "methods is a mapping"),
            ({"methods": ["mse"]}, "methods is a mapping"),
            ({"methods": {"mse": "kd"}}, "method 'mse' must be"),
            ({"methods": {"a/b": {}}}, "method 'a/b' must be a name"),
            ({"methods": {"mse_self": {}}}, "method 'mse_self' must be a name"),
            ({"methods": {"one": {"data": {"fold": 1}}}}, "'one' sets data.fold, .* --folds"),
            ({"methods": {"one": {"seed_everything": 1}}}, "'one' sets seed_everything, .* --seeds"),
            ({"folds": []}, r"folds is a list of different whole numbers, not \[\]"),
            ({"folds": [0, 0]}, "folds is a list of different"),
            ({"folds": [-1]}, "folds is a list"),
            ({"seeds": 3}, "seeds is a list of different whole numbers, not 3"),
            ({"seeds": ["one"]}, "seeds is a list"),
            ({"self_distillation": "perhaps"}, "self_distillation is true or false, not 'perhaps'"),
            ({"configs": ["gone.yaml"]}, "configs is a list of files.*gone.yaml"),
            ({"configs": "first.yaml"}, "configs is a list of files"),
        ],
    )
    def test_a_key_or_value_that_cannot_be(self, write_study, change, message):
        with pytest.raises(ConfigError, match=message):
            read_study(write_study(**change))

    def test_a_file_that_is_not_there_or_no_yaml(self, tmp_path):
        with pytest.raises(ConfigError, match=r"gone.yaml cannot be read"):
            read_study(tmp_path / "gone.yaml")
        (tmp_path / "bad.yaml").write_text("methods: {")
        with pytest.raises(ConfigError, match=r"bad.yaml cannot be read"):
            read_study(tmp_path / "bad.yaml")
        (tmp_path / "empty.yaml").write_text("")
        with pytest.raises(ConfigError, match="holds no keys"):
            read_study(tmp_path / "empty.yaml")

    @pytest.mark.parametrize(
        ("delta", "message"),
        [
            ({"transfer": {"model": {"kd_loss_wieght": 1.0}}}, "Did you mean kd_loss_weight"),
            ({"transfer": {"model": {"kd_loss": "kt"}}}, "kt"),
            ({"transfer": {"model": {"kd_loss_weight": -1.0}}}, "must not be negative"),
            ({"transfer": {"model": {"more_losses": {"rkd": {"weight": 1.0, "angel_weight": 2}}}}}, "angel_weight"),
            ({"teaching": {"cross_fit": 1}}, "cross_fit"),
        ],
        ids=str,
    )
    def test_a_typo_in_the_last_method_is_found_before_the_first_run(self, write_study, delta, message):
        with pytest.raises(ConfigError, match=rf"(?s)method 'last': .*{message}"):
            cells_of(write_study(methods={**METHODS, "last": delta}))

    @pytest.mark.parametrize("override", ["--data.fold", "--seed_everything=3", "--name", "--runs=x", "--stages"])
    def test_the_command_line_does_not_set_what_the_grid_sets(self, write_study, override):
        with pytest.raises(ConfigError, match=f"The command line sets {override[2:].split('=')[0]}, which a study"):
            cells_of(write_study(), override, "1")

    def test_the_value_of_another_key_may_be_called_like_it(self, write_study):
        assert cells_of(write_study(), "--data.root", "name")


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.name)
def test_every_study_is_one(path):
    cells = plan(read_study(path), Path("out"), ["--data.root", "ravdess", "--data.face_features", "au.csv"])
    assert len({cell.folder for cell in cells}) == len(cells)
    # With one seed and fold the same number of epochs in all, or methods would be compared by their budgets.
    totals = {
        sum(cell.settings[stage]["trainer"]["max_epochs"] for stage in ("transfer", "finetune")) for cell in cells
    }
    assert len(totals) == 1


def test_the_study_of_teaching_holds_every_loss_and_way():
    path = CONFIGS / "studies" / "teaching.yaml"
    named = set(re.findall(r"[a-z_]+", path.read_text()))
    study = read_study(path)
    assert study.self_distillation
    assert len(study.methods) >= 12
    assert len(study.seeds) >= 3
    assert {*list_kd_losses(), *list_align_losses()} <= named
