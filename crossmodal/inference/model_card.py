"""Model card: the README.md of a model folder."""

from collections.abc import Mapping
from typing import Any

import yaml

SYNTHETIC_WARNING = (
    "**Trained and evaluated on the built-in synthetic corpus. It shows that the software works and is no evidence "
    "about people.**"
)
LEAKAGE_WARNING = (
    "**Speaker-dependent: the same speakers are in training and test. The results do not apply to unseen speakers.**"
)
# By the kind of corpus.
LICENCES = {"synthetic": "apache-2.0", "ravdess": "cc-by-nc-sa-4.0", "manifest": "other"}
_CORPORA = {
    "synthetic": "The built-in synthetic corpus",
    "ravdess": "RAVDESS (Livingstone & Russo 2018, Zenodo record 1188976)",
}
_LIMITS = {
    "synthetic": "The training data are rendered by a program. Recordings of people are not covered.",
    "ravdess": "The training data are acted emotions of North American actors who speak two sentences. Spontaneous "
    "speech, other languages and other recording conditions are not covered.",
    "manifest": "The model reproduces the annotations of its training data, which may differ from what speakers felt.",
}
_LICENCE = {
    "synthetic": "Apache-2.0, like crossmodal itself, whose code renders the corpus.",
    "ravdess": "RAVDESS is published under CC BY-NC-SA 4.0, which applies to these weights too: no commercial use, "
    "credit to its authors, and the same licence for derived works.",
    "manifest": "The licence of the recordings and the consent of their speakers may restrict the use of these "
    "weights. State the terms here before you share the model.",
}
_TITLES = {
    "finetune": "Speech emotion recognition with a distilled voice model",
    "control": "Speech emotion recognition with a voice model trained without a teacher",
}
_ORIGIN = {
    "finetune": "It was trained with knowledge distillation from a teacher model, then fine-tuned on labels.",
    "control": "It is the control of a distilled model: it was trained on labels only.",
}
_ROWS = {
    "finetune": "student (with teacher)",
    "control": "control (without teacher)",
    "teacher": "teacher",
}
_SPLITS = {"train": "training", "val": "validation (model selection)", "test": "test"}
_USE = """\
## How to use

```python
from crossmodal import EmotionRecognizer

recognizer = EmotionRecognizer.from_pretrained("path/to/this/folder")  # or owner/name on the Hub
prediction = recognizer("clip.wav")
print(prediction.label, prediction.probabilities)
```

On the command line:

```bash
crossmodal predict --model path/to/this/folder clip.wav
crossmodal export path/to/this/folder --format onnx
```

The second command writes `model.onnx`, which runs without PyTorch and crossmodal:

```python
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
waveform = np.zeros((1, 48000), np.float32)  # (batch, time): {sample_rate} Hz mono, in [-1, 1]
inputs = {{"waveform": waveform, "waveform_length": np.array([48000])}}  # lengths in samples
probabilities = session.run(["probabilities"], inputs)[0]  # (batch, {num_labels}), in the order of the labels above
```

## Intended uses

Research on speech emotion recognition and on cross-modal distillation, with recordings of one person that last a few
seconds.

## Out-of-scope uses

- Decisions about people: at work, in education, in court, at borders or in care.
- Lie detection.
- Claims about what a person feels.

In the European Union, the AI Act (Article 5) prohibits emotion inference at work and in education, except for medical
and safety reasons.
"""


def model_card(summary: dict[str, Any], config: dict[str, Any], parameters: int) -> str:
    """Return the card as Markdown, with the metadata header of the Hugging Face Hub.

    Args:
        summary: Summary of the run.
        config: Content of the model folder's ``config.json``.
        parameters: Number of trained parameters.
    """
    corpus, labels, stage = summary["corpus"], config["labels"], _stage(config)
    lines = [
        "---",
        yaml.safe_dump(_metadata(summary, config), sort_keys=False, allow_unicode=True).rstrip(),
        "---",
        "",
        f"# {_TITLES[stage]}",
        "",
        *([f"> {SYNTHETIC_WARNING}", ""] if corpus["kind"] == "synthetic" else []),
        *([f"> {LEAKAGE_WARNING}", ""] if summary["speaker_dependent"] else []),
        f"This model predicts the emotion of a voice recording, one of {len(labels)} classes: {', '.join(labels)}. "
        f"{_ORIGIN[stage]} Inference needs audio only.",
        "",
        *_description(config, parameters),
        _USE.format(sample_rate=config["sample_rate"], num_labels=len(labels)),
        *_training_data(summary),
        *_results(summary, stage),
        *_calibration(config),
        "## Limitations",
        "",
        f"{_LIMITS[corpus['kind']]} Do not use it to judge people.",
        "",
        "## Licence",
        "",
        _LICENCE[corpus["kind"]],
        "",
    ]
    return "\n".join(lines)


def _stage(config: dict[str, Any]) -> str:
    return str(config.get("stage", "finetune"))


def _metadata(summary: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """Return the header with the keys that the Hub defines."""
    corpus, model = summary["corpus"], config["model"]
    metadata: dict[str, Any] = {
        "license": LICENCES[corpus["kind"]],
        **({"language": "en"} if corpus["kind"] == "ravdess" else {}),
        "library_name": "crossmodal",
        "pipeline_tag": "audio-classification",
        "tags": ["speech-emotion-recognition", "knowledge-distillation", "cross-modal"],
    }
    numbers = summary["stages"].get(_stage(config))
    if numbers is None:
        return metadata
    people = f"{_people(corpus)} {', '.join(corpus['actors']['test'])}"
    dataset = {"name": _corpus_name(corpus), "type": corpus["kind"], "split": f"{_protocol(summary)}: {people}"}
    metrics = [
        {"type": "recall", "name": "UAR (unweighted average recall)", "value": round(numbers["test_uar"], 4)},
        {"type": "accuracy", "name": "WAR (accuracy)", "value": round(numbers["test_war"], 4)},
    ]
    task = {"type": "audio-classification", "name": "Speech emotion recognition"}
    results = [{"task": task, "dataset": dataset, "metrics": metrics}]
    return metadata | {
        "metrics": ["recall", "accuracy"],
        "model-index": [{"name": f"{model['front_end']} + {model['encoder']}", "results": results}],
    }


def _description(config: dict[str, Any], parameters: int) -> list[str]:
    model = config["model"]
    frozen = []
    if model["front_end"] == "ssl":
        frozen = [
            "",
            f"The front end is the frozen network {model['front_end_kwargs']['bundle']}. Its unchanged weights are in "
            "`front_end.safetensors` and are not included in the number of parameters. They are under the licence of "
            "their authors: see the bundle's page in the torchaudio documentation.",
        ]
    return [
        "## Model description",
        "",
        f"- Front end: {model['front_end']}",
        f"- Encoder: {model['encoder']}",
        f"- Parameters: {parameters:,}",
        f"- Input: mono waveform at {config['sample_rate']} Hz; crossmodal resamples other recordings",
        f"- Output: probabilities of {len(config['labels'])} emotions",
        *frozen,
        "",
    ]


def _training_data(summary: dict[str, Any]) -> list[str]:
    corpus = summary["corpus"]
    channel = f", channel {summary['channel']}" if summary["channel"] else ""
    rows = [
        f"| {name} | {corpus['clips'][split]} | {', '.join(corpus['actors'][split])} |"
        for split, name in _SPLITS.items()
    ]
    return [
        "## Training data",
        "",
        f"{_CORPORA.get(corpus['kind']) or corpus['name']}{channel}, {_protocol(summary)}.",
        "",
        f"| split | clips | {_people(corpus)} |",
        "|---|---:|---|",
        *rows,
        "",
    ]


def _corpus_name(corpus: dict[str, Any]) -> str:
    return str(corpus.get("name") or {"synthetic": "Synthetic corpus", "ravdess": "RAVDESS"}[corpus["kind"]])


def _protocol(summary: dict[str, Any]) -> str:
    folds = f" ({summary['num_folds']} folds)" if summary.get("num_folds") else ""
    return f"protocol {summary['protocol']}{folds}, fold {summary['fold']}"


def _people(corpus: dict[str, Any]) -> str:
    return "speakers" if corpus["kind"] == "manifest" else "actors"


def _results(summary: dict[str, Any], stage: str) -> list[str]:
    stages = summary["stages"]
    if stage not in stages:
        return []
    people = _people(summary["corpus"])
    lines = [
        "## Evaluation",
        "",
        f"Results on the test {people}. UAR (unweighted average recall) is the mean recall of the classes; chance is "
        f"{1 / len(summary['labels']):.3f}. The interval is a bootstrap over {people}.",
        "",
        "| model | UAR | 95 % interval | accuracy |",
        "|---|---:|---:|---:|",
        _row("this model", stages[stage]),
        *(_row(name, stages[other]) for other, name in _ROWS.items() if other in stages and other != stage),
        "",
    ]
    if gain := summary.get("gain"):
        low, high = gain["ci95_pp"]
        no_evidence = "" if low > 0 or high < 0 else " The interval includes zero: this is no evidence of a gain."
        lines += [
            f"Gain of the student over its control: {gain['uar_pp']:+.1f} points of UAR (95 % interval {low:+.1f} to "
            f"{high:+.1f}), for one fold and one seed.{no_evidence}",
            "",
        ]
    return lines


def _row(name: str, numbers: Mapping[str, Any]) -> str:
    low, high = numbers["test_uar_ci95"]
    return f"| {name} | {numbers['test_uar']:.3f} | {low:.3f} to {high:.3f} | {numbers['test_war']:.3f} |"


def _calibration(config: dict[str, Any]) -> list[str]:
    calibration = config.get("calibration")
    if not calibration:
        return []
    return [
        "## Calibration",
        "",
        f"Logits are divided by a temperature of {config['temperature']:.2f}, fitted on {calibration['clips']} "
        "validation clips. On these clips it changes the expected calibration error from "
        f"{calibration['ece_before']:.3f} to {calibration['ece_after']:.3f}. On other kinds of recordings the model "
        "may be overconfident.",
        "",
    ]
