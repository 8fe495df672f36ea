"""Evaluation of a trained model on actors that it was not trained on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from crossmodal.datamodules import AudioDataModule
from crossmodal.datamodules.settings import CORPORA
from crossmodal.datasets.manifest_values import speaker_name
from crossmodal.datasets.splits.protocols import missing_classes
from crossmodal.datasets.stream.reader import read_about
from crossmodal.errors import ConfigError, LeakageError
from crossmodal.evaluation.by_sex import SexResult, measure_by_sex, sex_sections
from crossmodal.evaluation.metrics import Interval, describe
from crossmodal.evaluation.predictions import Predictions, predict
from crossmodal.evaluation.report import Column, Report, Section, Table, warnings
from crossmodal.inference.model_card import UNKNOWN
from crossmodal.inference.model_config import read_config, warning_of
from crossmodal.inference.model_folder import ModelFolder, load_model_folder
from crossmodal.inference.onnx_model import OnnxModel, load_onnx_model
from crossmodal.labels_for_people import corpus_name, format_for, interval_text, list_names, protocol_name
from crossmodal.own_code import is_class_path, trusting
from crossmodal.pipeline.stored.speech_features import store_speech_features
from crossmodal.pipeline.summary import Measured, actors_by_sex, describe_split

# Data arguments whose defaults are taken from the model's config.
_DATA_DEFAULTS = ("channel", "label_set", "protocol", "fold", "num_folds")


@dataclass(frozen=True, kw_only=True)
class Evaluation(Measured):
    """Result of `crossmodal.test`, which a notebook shows.

    Attributes:
        actors: Test actors.
        warning: What a reader must know about the model, or None.
        uar: Unweighted average recall, as a fraction.
        war: Accuracy, as a fraction.
        f1: Macro F1, as a fraction.
        ece: Expected calibration error, as a fraction.
        uar_ci95: 95 % interval of the UAR, a bootstrap over the test actors; None for fewer than three.
        confusion: Numbers of clips, by true and by predicted class.
        by_sex: Results by sex of the actor, see `crossmodal.evaluation.by_sex.SexResult`; empty if it is unknown.
    """

    actors: list[str]
    warning: str | None
    uar: float
    war: float
    f1: float
    ece: float
    uar_ci95: Interval | None
    confusion: list[list[int]]
    by_sex: list[SexResult]

    def to_dict(self) -> dict[str, Any]:
        """Return the values as JSON values."""
        return dict(vars(self))

    def report(self) -> Report:
        """Return the report: two sentences, the confusion matrix, and results by sex if it is known."""
        people = format_for(self.corpus, "actors")
        name = corpus_name(self.corpus, self.channel)
        lines = [
            f"{name}: {self.corpus['clips']} clips of {people} {list_names(self.actors)} "
            f"({protocol_name(self.protocol, self.num_folds)}, fold {self.fold}); chance is "
            f"{1 / len(self.labels):.3f}",
            f"UAR {self.uar:.3f} (95 % interval over {people} {interval_text(self.uar_ci95)}), WAR {self.war:.3f}, "
            f"macro F1 {self.f1:.3f}, calibration error {self.ece:.3f}",
        ]
        columns = [Column[_Counts]("true \\ predicted", lambda row: row[0], "true \\ predicted")]
        columns += [_count_column(index, label) for index, label in enumerate(self.labels)]
        table = Table(columns, [list(zip(self.labels, self.confusion, strict=True))])
        marks = warnings(self.corpus, self.speaker_dependent) + ([self.warning] if self.warning else [])
        return Report(f"Test of {name}", marks, lines, [Section("", [table]), *sex_sections(self.by_sex, people)])

    def _repr_html_(self) -> str:
        return self.report().to_html()


_Counts = tuple[str, list[int]]  # a true class, and the number of its clips by predicted class


def _count_column(index: int, label: str) -> Column[_Counts]:
    return Column(label, lambda row: str(row[1][index] or "·"), label[:5])


def test(
    model: str | Path,
    *,
    data_root: str | Path | None = None,
    manifest: str | Path | None = None,
    fold: int | None = None,
    backend: Literal["torch", "onnx", "int8"] = "torch",
    trust_own_code: bool = False,
    **data: Any,
) -> Evaluation:
    """Evaluate a model folder on the test actors of a fold, on which it was not trained.

    Args:
        model: Model folder.
        data_root: Folder of the extracted RAVDESS files.
        manifest: Table of another corpus.
        fold: Test fold; default that of the training.
        backend: ``torch``, or ``onnx`` or ``int8`` for the exported model.
        trust_own_code: As in `crossmodal.EmotionRecognizer.from_pretrained`.
        **data: More arguments of `crossmodal.AudioDataModule`. Channel, label set and protocol default to those of the
            training, if both corpora are RAVDESS folders or both are manifests.

    Raises:
        ConfigError: If data are missing or have labels that the model does not have.
        LeakageError: If a test actor was used for training or selection.
        ModelFolderError: If the model folder is incomplete.

    Examples:
        >>> import crossmodal
        >>> crossmodal.test("runs/fit/model", data_root="ravdess").uar  # doctest: +SKIP
    """
    given = {"root": data_root, "manifest": manifest, "fold": fold}
    given = {name: str(value) if isinstance(value, Path) else value for name, value in given.items()}
    wanted = {name: value for name, value in given.items() if value is not None} | data
    with trusting(trust_own_code):
        return evaluate(load_for_test(str(model), backend), wanted)


def load_for_test(folder: str, backend: str = "torch") -> ModelFolder:
    """Load a model folder, or with the backend ``onnx`` or ``int8`` its exported model."""
    if backend == "torch":
        return load_model_folder(folder)
    return ModelFolder(load_onnx_model(folder, int8=backend == "int8"), read_config(folder))


def evaluate(folder: ModelFolder, data: dict[str, Any]) -> Evaluation:
    """Evaluate a model on the test actors of a fold; raise LeakageError if one was used for training or selection.

    `data` has arguments of `AudioDataModule`. Channel, label set, protocol and fold default to those that the model was
    trained with, if both corpora are RAVDESS folders or both are manifests.
    """
    config = folder.config
    if config["actors_seen"] is None and not data.get("allow_speaker_leakage"):
        raise LeakageError(
            "The actors that the model was trained on are unknown. Save it with actors_seen, or test it with "
            "--data.protocol random --data.allow_speaker_leakage true."
        )
    datamodule = AudioDataModule(**_data_defaults(config, data) | data)
    _check_labels(datamodule, config["labels"])
    datamodule.prepare_data()
    datamodule.setup()
    actors = sorted({clip.actor for clip in datamodule.split["test"]})
    trained = {speaker_name(name) for name in config["actors_seen"] or ()}
    seen = sorted({actor for actor in actors if speaker_name(actor) in trained})
    kind = config["corpus"]["kind"]
    same_corpus = kind == UNKNOWN or datamodule.is_synthetic == (kind == "synthetic")
    if seen and same_corpus and not datamodule.is_speaker_dependent:
        fold = "a fold with other test actors"
        if kind != UNKNOWN:
            protocol = protocol_name(config["protocol"], config.get("num_folds"))
            fold = f"{protocol} fold {config['fold']}, which it was trained for"
        raise LeakageError(
            f"The model was trained or selected on actors {list_names(seen)}, so they cannot test it. Test it on "
            f"{fold}. If these are different people with the same names, rename them in the manifest."
        )
    predictions, source = _predict(folder, datamodule), datamodule.source
    missing = {"missing_classes": missing_classes({"test": datamodule.split["test"]}, config["labels"])}
    return Evaluation(
        **describe_split(datamodule) | {"labels": list(predictions.labels)},
        corpus={"kind": source.kind, "name": source.name, "clips": len(predictions.clips), **missing},
        actors=actors,
        warning=None if datamodule.is_synthetic else warning_of(config),
        **describe(predictions),
        confusion=predictions.confusion().tolist(),
        by_sex=measure_by_sex({"this model": predictions}, actors_by_sex(datamodule.split["test"])),
    )


def _data_defaults(config: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """Return the data arguments of the model's training, or none if the given corpus is of another kind."""
    kind = config["corpus"]["kind"]
    is_manifest = kind == "manifest" or config.get("channel") is None
    if not any(data.get(name) for name in CORPORA) and (is_manifest or kind != "synthetic"):
        name = "unknown recordings" if kind == UNKNOWN else corpus_name(config["corpus"], config["channel"])
        raise ConfigError(f"The model was trained on {name}: pass --data.root DIR or --data.manifest FILE to test it.")
    if kind == UNKNOWN:
        return {}
    if is_manifest != bool(
        data.get("manifest") or data.get("corpus") or (data.get("stream") and read_about(data["stream"]).labels)
    ):
        return {}
    known = {name: config[name] for name in _DATA_DEFAULTS if config.get(name) is not None}
    if is_class_path(str(config.get("protocol"))):  # code that this command does not name is not run
        del known["protocol"]
    return known


def _check_labels(datamodule: AudioDataModule, known: list[str]) -> None:
    """Raise ConfigError if the corpus has labels that the model does not; a manifest may have fewer."""
    labels, label_set = list(datamodule.labels), datamodule.source.label_set
    if labels != known and not (label_set is None and {*labels} <= {*known}):
        source = f"label_set {label_set}" if label_set else datamodule.source.name
        raise ConfigError(f"The model predicts {', '.join(known)}, but {source} has the labels {', '.join(labels)}.")


def _predict(folder: ModelFolder, datamodule: AudioDataModule) -> Predictions:
    clips = [clip for clip in datamodule.split["test"] if clip.label is not None]
    model = folder.model
    if isinstance(model, OnnxModel):
        probabilities = [
            model.probabilities(batch["waveform"][:, 0].numpy(), batch["waveform_length"].numpy()).astype(float)
            for batch in datamodule.loader(clips)
        ]
    else:
        # Speech features of a frozen network may be stored from training; batches then hold them.
        datamodule.speech_features = store_speech_features(model, datamodule, clips)
        temperature = folder.config["temperature"]  # as `predict` has it
        logits = predict(model, datamodule.loader(clips)).logits
        probabilities = [(logits.double() / temperature).softmax(dim=-1).numpy()]
    return Predictions.of_clips([(clip, "test") for clip in clips], tuple(folder.config["labels"]), probabilities)
