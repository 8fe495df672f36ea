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
    """Write a study of applications, and one application in a file; what is None is left out."""
    (tmp_path / "voice.yaml").write_text(yaml.safe_dump(VOICE))

    def write(**content) -> Path:
        path = tmp_path / "first.yaml"
        content = {"applications": {"voice": "voice.yaml"}} | content
        path.write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not None}))
        return path

    return write


def cells_of(path, *overrides):
    return {cell.folder.name: cell for cell in plan(read_study(path), path.parent / "out", overrides)}


class TestTheGrid:
    def test_it_is_applications_by_protocols_by_folds_by_seeds(self, write_study):
        cells = cells_of(write_study(protocols=["seq6", "random"], folds=[0, 2], seeds=[1]))
        assert list(cells) == [
            f"voice_{protocol}_fold{fold}_seed1" for fold in (0, 2) for protocol in ("seq6", "random")
        ]

    def test_fit_understands_a_run_as_the_grid_does(self, write_study):
        applications = {"voice": "voice.yaml", "all": [{"data": {"batch_size": 8}}]}
        path = write_study(applications=applications, protocols=["seq6", "random"], seeds=[3])
        for cell in cells_of(path).values():
            settings = parse_settings(cell.args)
            assert settings["trainer"].pop("enable_progress_bar") is False
            assert settings == cell.settings
            assert settings["data"]["allow_speaker_leakage"] == (settings["data"]["protocol"] == "random")

    def test_each_has_its_own_stages(self, write_study):
        applications = {"voice": "voice.yaml", "face": ["voice.yaml", {"stages": "teacher"}]}
        applications["all"] = [{"transfer": {"model": {"encoder": "cnn"}}}]
        cells = cells_of(write_study(applications=applications, seeds=[0]))
        stages = {cell.method: cell.stages for cell in cells.values()}
        assert stages == {
            "voice": ["control"],
            "face": ["teacher"],
            "all": ["teacher", "control", "transfer", "finetune"],
        }

    def test_what_a_report_goes_by(self, write_study):
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

    def test_layers_lie_over_one_another_in_order(self, write_study):
        over = [{"transfer": {"model": {"encoder": "cnn"}}}, {"transfer": {"model": {"encoder": "tdnn"}}}]
        (cell,) = cells_of(write_study(applications={"one": ["voice.yaml", *over]}, seeds=[0])).values()
        assert cell.about["front_end"] == "lmfb"
        assert cell.about["encoder"] == "tdnn"

    def test_another_protocol_is_another_run(self, write_study):
        cells = cells_of(write_study(protocols=["seq6", "luna5"], seeds=[0]))
        assert len({cell.key for cell in cells.values()}) == 2


class TestWhatRunsShare:
    def test_only_what_is_trained_is_made(self, write_study):
        stages = {"voice": "control", "face": "teacher", "all": "teacher,control,transfer,finetune"}
        applications = {name: [{"stages": those, "data": {"channel": "speech"}}] for name, those in stages.items()}
        path = write_study(applications=applications, seeds=[0])
        made = {cell.method: cell.makes for cell in cells_of(path, "--data.face_features=au.csv").values()}
        assert len(made["voice"]) == len(made["face"]) == 1
        assert not made["voice"] & made["face"]
        assert made["voice"] | made["face"] < made["all"]


class TestErrors:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"methods": {"one": {}}}, "methods or applications, not both"),
            ({"applications": {"one": 3}}, "application 'one' must be"),
            ({"applications": {"one": []}}, "application 'one' must be"),
            ({"applications": {"one": [3]}}, "application 'one' must be"),
            ({"applications": {"a/b": "voice.yaml"}}, "application 'a/b' must be a name"),
            ({"applications": {"one": "gone.yaml"}}, r"application 'one': there is no file .*gone.yaml"),
            ({"applications": {"one": [{"data": {"fold": 1}}]}}, "'one' sets data.fold, .* --folds"),
            (
                {"protocols": ["seq6"], "applications": {"one": [{"data": {"protocol": "luna5"}}]}},
                "'one' sets data.protocol, .* --protocols",
            ),
            ({"protocols": ["seq7"]}, r"Unknown protocol of .*'seq7'.*Did you mean 'seq6'"),
            ({"protocols": "seq6"}, "protocols is a list of different names"),
            ({"protocols": ["seq6", "seq6"]}, "protocols is a list of different names"),
            ({"self_distillation": True}, "self_distillation goes with methods; this study has applications"),
            (
                {"applications": None, "methods": {"one": {}}, "protocols": ["seq6"]},
                "protocols goes with applications; this study has methods",
            ),
        ],
    )
    def test_a_value_that_cannot_be(self, write_study, change, message):
        with pytest.raises(ConfigError, match=message):
            read_study(write_study(**change))

    @pytest.mark.parametrize("override", ["--data.protocol", "--data.allow_speaker_leakage", "--stages"])
    def test_the_command_line_does_not_set_what_the_study_sets(self, write_study, override):
        with pytest.raises(ConfigError, match=f"The command line sets {override[2:]}, which a study"):
            cells_of(write_study(protocols=["seq6"]), override, "1")

    def test_without_protocols_the_command_line_may(self, write_study):
        (cell,) = cells_of(write_study(seeds=[0]), "--data.protocol=loso24").values()
        assert cell.settings["data"]["protocol"] == "loso24"

    def test_a_typo_in_a_file_names_the_application(self, write_study, tmp_path):
        (tmp_path / "bad.yaml").write_text("transfer: {model: {encodr: cnn}}")
        with pytest.raises(ConfigError, match=r"(?s)application 'one': .*Did you mean encoder"):
            cells_of(write_study(applications={"one": "bad.yaml"}))


def test_the_study_of_applications_holds_all_of_them():
    study = read_study(STUDY)
    files = {path.stem for path in (STUDY.parents[1] / "applications").glob("*.yaml")}
    assert files <= study.applications.keys()
    assert list(study.protocols) == ["seq6", "random"]
    cells = [cell for cell in plan(study, Path("out")) if cell.fold == 0 and cell.seed == 0]
    # For each song a speech with its front end, encoder, emotions, and recipe.
    voices = {(cell.settings["data"].get("label_set") or cell.settings["data"]["channel"]): [] for cell in cells}
    for cell in cells:
        if cell.stages == ["control"]:
            voices[cell.settings["data"].get("label_set") or cell.settings["data"]["channel"]].append(
                cell.settings["transfer"]
            )
    by_name = lambda sections: sorted(map(str, sections))  # noqa: E731
    assert by_name(voices["song"]) == by_name(voices["speech6"])


def test_a_study_that_takes_its_methods_from_itself(tmp_path):
    for name, other in (("a", "b"), ("b", "a")):
        (tmp_path / f"{name}.yaml").write_text(f"methods: {other}.yaml\n")
    with pytest.raises(ConfigError, match="takes its methods from itself"):
        read_study(tmp_path / "a.yaml")


@pytest.mark.parametrize("change", [{"protocols": [{}]}, {"configs": [5]}, {"configs": None, "protocols": 5}])
def test_lists_of_names_hold_names(write_study, change):
    with pytest.raises(ConfigError, match="is a list of"):
        read_study(write_study(**change))
