import pytest

from crossmodal import shipped_configs
from crossmodal.errors import ConfigError
from crossmodal.pipeline.settings import parse_settings
from crossmodal.shipped_configs import config_names, configs_folder, describe_configs, find_config


@pytest.fixture(autouse=True)
def another_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", config_names())
def test_every_config_is_found_by_its_name(name):
    assert find_config(name) == configs_folder() / f"{name}.yaml"


def test_a_checkouts_path_works_from_any_folder(tmp_path):
    for name in ("cnn", "cnn.yaml", "configs/cnn.yaml", "configs/cnn"):
        assert find_config(name) == configs_folder() / "cnn.yaml"
    for name in ("teaching", "configs/studies/teaching.yaml"):
        assert find_config(name, "studies") == configs_folder() / "studies" / "teaching.yaml"
    (tmp_path / "cnn").write_text("name: mine", encoding="utf-8")
    assert find_config("cnn").resolve() == tmp_path / "cnn"  # a file comes before a shipped config


@pytest.mark.parametrize("name", ["ravdess_action_unit", "../cnn", "", "teaching", "configs/none.yaml"])
def test_an_unknown_name_is_an_error_with_the_nearest(name):
    with pytest.raises(ConfigError, match="'ravdess_action_units'" if "action" in name else "shipped config"):
        find_config(name)


def test_an_installed_package_has_them_inside(tmp_path, monkeypatch):
    monkeypatch.setattr(shipped_configs, "_PACKAGE", tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "mine.yaml").write_text("# Mine.\nname: mine\n", encoding="utf-8")
    assert find_config("mine") == tmp_path / "configs" / "mine.yaml"
    assert list(describe_configs()) == [("mine", "Mine.")]


def test_every_config_says_what_it_is_in_one_line():
    described = dict(describe_configs())
    assert sorted(described) == config_names()
    assert [name for name, comment in described.items() if not comment.endswith((".", "Hub."))] == []


def test_fit_takes_names_and_paths_and_text():
    settings = parse_settings(
        ["--config", "ravdess_action_units", "--config", "configs/cnn.yaml", "--config", '{"name": "mine"}']
    )
    assert settings["name"] == "mine"
    assert settings["transfer"]["model"]["encoder"] == "cnn"
    assert settings["teacher"]["model"]["hidden_size"] == 128
