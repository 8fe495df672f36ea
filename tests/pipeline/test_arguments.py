import json
from pathlib import Path

import pytest

import crossmodal
from crossmodal.errors import ConfigError
from crossmodal.losses import KnowledgeDistillationLoss
from crossmodal.pipeline.arguments import command_words
from crossmodal.pipeline.settings import parse_settings
from tests.pipeline import reused, sections_of


def settings_of(config=(), **settings):
    return parse_settings(command_words(config, settings))


class TestWords:
    def test_short_forms_are_keys_of_the_command_line(self):
        ours = settings_of(
            data_root=Path("ravdess"),
            face_features="au.csv",
            fold=1,
            seed=3,
            name="mine",
            stages=["teacher", "control"],
        )
        words = ["--data.root=ravdess", "--data.face_features=au.csv", "--data.fold=1", "--seed_everything=3"]
        assert ours == parse_settings([*words, "--name=mine", "--stages=teacher,control"])

    def test_keywords_override_later_configs_which_override_earlier_ones(self, tmp_path):
        file = tmp_path / "mine.yaml"
        file.write_text("transfer: {model: {lr: 0.01, dropout: 0.5, encoder: cnn}}")
        settings = settings_of(["dense", file, {"transfer": {"model": {"lr": 0.02}}}], transfer={"model": {"lr": 0.03}})
        assert {"lr": 0.03, "dropout": 0.5, "encoder": "cnn"}.items() <= settings["transfer"]["model"].items()

    def test_a_section_and_its_short_form_are_merged(self):
        data = settings_of(fold=2, data={"batch_size": 4}, manifest=None)["data"]
        assert {"fold": 2, "batch_size": 4}.items() <= data.items()
        assert "manifest" not in data

    def test_one_config_of_each_kind(self, tmp_path):
        (tmp_path / "mine.yaml").write_text("seed_everything: 5")
        for config in (tmp_path / "mine.yaml", str(tmp_path / "mine.yaml"), {"seed_everything": 5}):
            assert settings_of(config)["seed_everything"] == 5

    def test_a_class_stands_for_its_path(self):
        words = command_words((), {"transfer": {"model": {"kd_loss": KnowledgeDistillationLoss}}})
        assert json.loads(words[1])["transfer"]["model"]["kd_loss"] == (
            "crossmodal.losses.distillation.KnowledgeDistillationLoss"
        )

    @pytest.mark.parametrize(
        ("settings", "word"),
        [
            ({"flod": 1}, "fold"),
            ({"trainer": {"max_epochs": object()}}, "class"),
            ({"trainer": {"epochz": 1}}, "epoch"),
        ],
    )
    def test_invalid_arguments(self, settings, word):
        with pytest.raises(ConfigError, match=word):
            settings_of((), **settings)


def test_fit_from_python_is_the_command_line(finished, tiny_args, tmp_path):
    """The store has the results of the command line; they are reused only if all settings are the same."""
    words = tiny_args(finished.cache.parent)
    summary = crossmodal.fit(runs=tmp_path, name="python", **sections_of(words))
    assert reused(summary.to_dict()) == list(finished.summary["stages"])
    assert summary.gain == finished.summary["gain"]["uar_pp"]
    assert summary.interval is finished.summary["gain"]["ci95_pp"] is None  # one test actor
    assert summary.recommended == finished.summary["recommended"]
    assert summary.paths["model"] == tmp_path / "python" / "model"
    assert "data:image/png" in summary._repr_html_()
