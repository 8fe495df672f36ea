from pathlib import Path

import pytest
import yaml

from crossmodal.errors import ConfigError
from crossmodal.pipeline.settings import parse_settings
from crossmodal.studies.grid import plan
from crossmodal.studies.study_file import read_study

STUDY = Path(__file__).parents[2] / "configs" / "studies" / "applications.yaml"
VOICE = {"stages": "control", "transfer": {"model": {"front_end": "lmfb", "encoder": "dense"}}}


@pytest.fixture
def write_study(tmp_path):
    """Return a function that writes a study of applications, one in a file; None removes a key."""
    (tmp_path / "voice.yaml").write_text(yaml.safe_dump(VOICE))

    def write(**content) -> Path:
        path = tmp_path / "first.yaml"
        content = {"applications": {"voice": "voice.yaml"}} | content
        path.write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not None}))
        return path

    return write


def cells_of(path, *overrides):
    return {cell.folder.name: cell for cell in plan(read_study(path), path.parent / "out", overrides)}


class TestPlan:
    def test_the_grid_is_applications_by_protocols_by_folds_by_seeds(self, write_study):
        cells = cells_of(write_study(protocols=["seq6", "random"], folds=[0, 2], seeds=[1]))
        assert list(cells) == [
            f"voice_{protocol}_fold{fold}_seed1" for fold in (0, 2) for protocol in ("seq6", "random")
        ]

    def test_fit_parses_the_arguments_to_the_same_settings(self, write_study):
        applications = {"voice": "voice.yaml", "all": [{"data": {"batch_size": 8}}]}
        path = write_study(applications=applications, protocols=["seq6", "random"], seeds=[3])
        for cell in cells_of(path).values():
            settings = parse_settings(cell.args)
            assert settings["trainer"].pop("enable_progress_bar") is False
            assert settings == cell.settings
            assert settings["data"]["allow_speaker_leakage"] == (settings["data"]["protocol"] == "random")

    def test_each_application_has_its_own_stages(self, write_study):
        applications = {"voice": "voice.yaml", "face": ["voice.yaml", {"stages": "teacher"}]}
        applications["all"] = [{"transfer": {"model": {"encoder": "cnn"}}}]
        cells = cells_of(write_study(applications=applications, seeds=[0]))
        stages = {cell.method: cell.stages for cell in cells.values()}
        assert stages == {
            "voice": ["control"],
            "face": ["teacher"],
            "all": ["teacher", "control", "transfer", "finetune"],
        }

    def test_cell_json_has_the_values_for_reports(self, write_study):
        applications = {"voice": "voice.yaml", "default": [{"data": {"channel": "song"}}]}
        cells = cells_of(write_study(applications=applications, seeds=[0]))
        about = cells["voice_fold0_seed0"].about
        assert about == {
            "study": "out",
            "application": "voice",
            "fold": 0,
            "seed": 0,
            "key": about["key"],
            "front_end": "lmfb",
            "encoder": "dense",
        }
        assert cells["default_fold0_seed0"].about["encoder"] == "lstm"

    def test_later_sections_override_earlier_ones(self, write_study):
        sections = [{"transfer": {"model": {"encoder": "cnn"}}}, {"transfer": {"model": {"encoder": "tdnn"}}}]
        (cell,) = cells_of(write_study(applications={"one": ["voice.yaml", *sections]}, seeds=[0])).values()
        assert cell.about["front_end"] == "lmfb"
        assert cell.about["encoder"] == "tdnn"

    def test_protocols_have_different_keys(self, write_study):
        cells = cells_of(write_study(protocols=["seq6", "luna5"], seeds=[0]))
        assert len({cell.key for cell in cells.values()}) == 2


class TestSharedResults:
    def test_runs_have_only_the_results_of_their_stages(self, write_study):
        stages = {"voice": "control", "face": "teacher", "all": "teacher,control,transfer,finetune"}
        applications = {name: [{"stages": names, "data": {"channel": "speech"}}] for name, names in stages.items()}
        path = write_study(applications=applications, seeds=[0])
        keys = {cell.method: cell.makes for cell in cells_of(path, "--data.face_features=au.csv").values()}
        assert len(keys["voice"]) == len(keys["face"]) == 1
        assert not keys["voice"] & keys["face"]
        assert keys["voice"] | keys["face"] < keys["all"]


class TestErrors:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"methods": {"one": {}}}, "not both"),
            ({"applications": {"one": 3}}, "application 'one'"),
            ({"applications": {"one": []}}, "application 'one'"),
            ({"applications": {"one": [3]}}, "application 'one'"),
            ({"applications": {"a/b": "voice.yaml"}}, "application 'a/b'"),
            ({"applications": {"one": "gone.yaml"}}, r"application 'one'.*gone\.yaml"),
            ({"applications": {"one": [{"data": {"fold": 1}}]}}, r"'one'.*data\.fold.*--folds"),
            (
                {"protocols": ["seq6"], "applications": {"one": [{"data": {"protocol": "luna5"}}]}},
                r"'one'.*data\.protocol.*--protocols",
            ),
            ({"protocols": ["seq7"]}, r"'seq7'.*'seq6'"),
            ({"protocols": "seq6"}, "protocols"),
            ({"protocols": ["seq6", "seq6"]}, "protocols"),
            ({"self_distillation": True}, "self_distillation.*methods"),
            (
                {"applications": None, "methods": {"one": {}}, "protocols": ["seq6"]},
                "protocols.*applications",
            ),
        ],
    )
    def test_an_invalid_value_is_named(self, write_study, change, message):
        with pytest.raises(ConfigError, match=message):
            read_study(write_study(**change))

    @pytest.mark.parametrize("override", ["--data.protocol", "--data.allow_speaker_leakage", "--stages"])
    def test_the_command_line_cannot_set_what_the_study_sets(self, write_study, override):
        with pytest.raises(ConfigError, match=f"command line sets {override[2:]}"):
            cells_of(write_study(protocols=["seq6"]), override, "1")

    def test_the_command_line_may_set_the_protocol_of_a_study_without_protocols(self, write_study):
        (cell,) = cells_of(write_study(seeds=[0]), "--data.protocol=loso24").values()
        assert cell.settings["data"]["protocol"] == "loso24"

    def test_a_typo_in_a_file_names_the_application(self, write_study, tmp_path):
        (tmp_path / "bad.yaml").write_text("transfer: {model: {encodr: cnn}}")
        with pytest.raises(ConfigError, match=r"(?s)application 'one': .*encoder\b"):
            cells_of(write_study(applications={"one": "bad.yaml"}))


def test_the_study_of_applications_has_all_applications():
    study = read_study(STUDY)
    files = {path.stem for path in (STUDY.parents[1] / "applications").glob("*.yaml")}
    assert files <= study.applications.keys()
    assert list(study.protocols) == ["seq6", "random"]
    cells = [cell for cell in plan(study, Path("out")) if cell.fold == 0 and cell.seed == 0]
    # Each song application has a speech application with the same model, emotions and training.
    voices = {(cell.settings["data"].get("label_set") or cell.settings["data"]["channel"]): [] for cell in cells}
    for cell in cells:
        if cell.stages == ["control"]:
            voices[cell.settings["data"].get("label_set") or cell.settings["data"]["channel"]].append(
                cell.settings["transfer"]
            )
    by_name = lambda sections: sorted(map(str, sections))  # noqa: E731
    assert by_name(voices["song"]) == by_name(voices["speech6"])


def test_a_study_that_refers_to_itself_is_refused(tmp_path):
    for name, other in (("a", "b"), ("b", "a")):
        (tmp_path / f"{name}.yaml").write_text(f"methods: {other}.yaml\n")
    with pytest.raises(ConfigError, match="itself"):
        read_study(tmp_path / "a.yaml")


@pytest.mark.parametrize("change", [{"protocols": [{}]}, {"configs": [5]}, {"configs": None, "protocols": 5}])
def test_lists_of_names_must_have_strings(write_study, change):
    with pytest.raises(ConfigError, match="list"):
        read_study(write_study(**change))


def test_a_study_that_contains_itself_is_refused(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text("methods: &a {x: *a}", encoding="utf-8")
    with pytest.raises(ConfigError, match="alias"):
        read_study(path)
