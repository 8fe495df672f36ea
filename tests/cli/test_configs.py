import json

import yaml

from crossmodal.cli.main import main
from crossmodal.shipped_configs import config_names, configs_folder


def test_list(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["configs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == config_names()
    assert any("action units" in line for line in lines)
    assert main(["configs", "--format", "json"]) == 0
    assert sorted(json.loads(capsys.readouterr().out)) == config_names()


def test_print_one_config(capsys):
    assert main(["configs", "cnn"]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == {"transfer": {"model": {"encoder": "cnn"}}}


def test_print_paths(capsys):
    assert main(["configs", "sweeps/teaching", "--path"]) == 0
    assert main(["configs", "--path"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        str(configs_folder() / "sweeps" / "teaching.yaml"),
        str(configs_folder()),
    ]
