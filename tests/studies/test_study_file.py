import pytest

from crossmodal.errors import ConfigError
from crossmodal.studies.study_file import read_study
from tests.studies.conftest import APPLICATIONS, METHODS, cells_of


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": METHODS}, r"first\.yaml.*'method'.*'methods'"),
        ({"methods": None}, "methods"),
        ({"methods": {}}, "methods"),
        ({"methods": ["mse"]}, "methods"),
        ({"methods": {"mse": "kd"}}, "method 'mse'"),
        ({"methods": {"a/b": {}}}, "method 'a/b'"),
        ({"methods": {"mse_self": {}}}, "method 'mse_self'"),
        ({"methods": {"one": {"data": {"fold": 1}}}}, r"'one'.*data\.fold.*--folds"),
        ({"methods": {"one": {"seed_everything": 1}}}, r"'one'.*seed_everything.*--seeds"),
        ({"folds": []}, r"folds.*\[\]"),
        ({"folds": [0, 0]}, "folds"),
        ({"folds": [-1]}, "folds"),
        ({"folds": [True]}, "folds"),
        ({"seeds": 3}, "seeds.*3"),
        ({"seeds": ["one"]}, "seeds"),
        ({"self_distillation": "perhaps"}, "self_distillation.*'perhaps'"),
        ({"configs": ["gone.yaml"]}, "configs.*gone.yaml"),
        ({"configs": "first.yaml"}, "configs.*list"),
        ({"configs": [5]}, "configs.*list"),
        ({"protocols": ["seq6"]}, "protocols.*applications"),
        ({"labelled_actors": 2}, "labelled_actors.*list.*2"),
        ({"labelled_actors": [0]}, "labelled_actors.*from 1"),
        ({"labelled_actors": [True]}, "labelled_actors.*True"),
        ({"labelled_actors": ["all"]}, "labelled_actors.*null"),
        ({"labelled_actors": [2, None, None]}, "labelled_actors.*distinct"),
        ({"students": ["voice.yaml"]}, "students.*map"),
        ({"students": {"a_b": "voice.yaml"}}, "student 'a_b'"),
        ({"students": {1: "voice.yaml"}}, "student 1"),
        ({"students": {"one": 3}}, "student 'one'"),
        ({"students": {"one": []}}, "student 'one'"),
        ({"students": {"one": ["gone.yaml"]}}, r"student 'one'.*gone\.yaml"),
        ({"students": {"one": {"data": {"fold": 1}}}}, r"student 'one'.*data\.fold.*--folds"),
        (
            {"labelled_actors": [2], "students": {"one": {"data": {"labelled_actors": 1}}}},
            r"student 'one'.*data\.labelled_actors.*--labelled",
        ),
        (
            {"labelled_actors": [2], "methods": {"one": {"data": {"labelled_actors": 1}}}},
            r"method 'one'.*data\.labelled_actors.*--labelled",
        ),
        ({"minutes_per_run": 0}, "minutes_per_run.*0"),
        ({"minutes_per_run": "ten"}, "minutes_per_run.*'ten'"),
        ({"minutes_per_run": True}, "minutes_per_run.*True"),
        ({"applications": {"voice": "voice.yaml"}, "methods": {"one": {}}}, "not both"),
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
        (APPLICATIONS | {"protocols": ["seq7"]}, r"'seq7'.*'seq6'"),
        (APPLICATIONS | {"protocols": "seq6"}, "protocols.*list"),
        (APPLICATIONS | {"protocols": 5}, "protocols.*list"),
        (APPLICATIONS | {"protocols": [{}]}, "protocols.*list"),
        (APPLICATIONS | {"protocols": ["seq6", "seq6"]}, "protocols"),
        (APPLICATIONS | {"self_distillation": True}, "self_distillation.*methods"),
        (APPLICATIONS | {"labelled_actors": [2]}, "labelled_actors.*methods"),
        (APPLICATIONS | {"students": {"one": "voice.yaml"}}, "students.*methods"),
    ],
)
def test_an_invalid_key_or_value_is_named(write_study, change, message):
    with pytest.raises(ConfigError, match=message):
        read_study(write_study(**change))


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "cannot be read"), ("methods: {", "cannot be read"), ("", "no keys"), ("methods: &a {x: *a}", "alias")],
)
def test_a_missing_invalid_empty_or_recursive_file_is_named(tmp_path, text, message):
    path = tmp_path / "study.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=rf"(?s)study\.yaml.*{message}"):
        read_study(path)


def test_a_study_may_use_the_methods_of_another(write_study, tmp_path):
    first = read_study(write_study(folds=[1]))
    path = tmp_path / "second.yaml"
    path.write_text("methods: first.yaml\nseeds: [7]")
    second = read_study(path)
    assert second.methods == first.methods == METHODS
    assert (list(second.folds), list(second.seeds)) == ([0], [7])
    for other, message in (("third.yaml", r"third\.yaml"), ("second.yaml", "itself")):
        path.write_text(f"methods: {other}")
        with pytest.raises(ConfigError, match=message):
            read_study(path)


@pytest.mark.parametrize(
    ("study", "override", "key"),
    [
        ({}, "--data.fold", "data.fold"),
        ({}, "--seed_everything=3", "seed_everything"),
        ({}, "--name", "name"),
        ({}, "--runs=x", "runs"),
        ({}, "--stages", "stages"),
        (APPLICATIONS | {"protocols": ["seq6"]}, "--data.protocol", "data.protocol"),
        (APPLICATIONS | {"protocols": ["seq6"]}, "--data.allow_speaker_leakage", "data.allow_speaker_leakage"),
    ],
)
def test_the_command_line_cannot_set_what_the_study_sets(write_study, study, override, key):
    with pytest.raises(ConfigError, match=f"command line sets {key}"):
        cells_of(write_study(**study), override, "1")


def test_a_value_may_equal_the_name_of_a_reserved_key(write_study):
    assert cells_of(write_study(), "--data.root", "name")


def test_the_command_line_may_set_the_protocol_of_a_study_without_protocols(write_study):
    (cell,) = cells_of(write_study(**APPLICATIONS, seeds=[0]), "--data.protocol=loso24").values()
    assert cell.settings["data"]["protocol"] == "loso24"


@pytest.mark.parametrize(
    ("delta", "message"),
    [
        ({"transfer": {"model": {"kd_loss_wieght": 1.0}}}, "kd_loss_weight"),
        ({"transfer": {"model": {"kd_loss": "kt"}}}, "kt"),
        ({"transfer": {"model": {"kd_loss_weight": -1.0}}}, "kd_loss_weight"),
        ({"transfer": {"model": {"more_losses": {"rkd": {"weight": 1.0, "angel_weight": 2}}}}}, "angel_weight"),
        ({"teaching": {"cross_fit": 1}}, "cross_fit"),
    ],
    ids=str,
)
def test_a_typo_in_the_last_method_is_found_before_the_first_run(write_study, delta, message):
    with pytest.raises(ConfigError, match=rf"(?s)method 'last': .*{message}"):
        cells_of(write_study(methods={**METHODS, "last": delta}))


def test_a_typo_in_a_student_names_it(write_study):
    students = {"one": "voice.yaml", "two": {"transfer": {"model": {"encodr": "cnn"}}}}
    with pytest.raises(ConfigError, match=r"(?s)method 'mse' with student 'two': .*encoder\b"):
        cells_of(write_study(students=students))


def test_a_typo_in_a_file_names_the_application(write_study, tmp_path):
    (tmp_path / "bad.yaml").write_text("transfer: {model: {encodr: cnn}}")
    with pytest.raises(ConfigError, match=r"(?s)application 'one': .*encoder\b"):
        cells_of(write_study(applications={"one": "bad.yaml"}))
