"""The model card: what the model is, what it was measured on, and what it must not be taken for."""

from collections.abc import Mapping
from typing import Any

import yaml

SYNTHETIC_WARNING = (
    "**Trained and measured on the built-in synthetic corpus: it shows that the machine works, and says nothing about "
    "people.**"
)
LEAKAGE_WARNING = (
    "**Speaker-dependent: the same speakers are in training and test. These figures do not tell how the model does on "
    "people it has not heard.**"
)
# By the kind of corpus.
LICENCES = {"synthetic": "apache-2.0", "ravdess": "cc-by-nc-sa-4.0", "manifest": "other"}
_CORPORA = {
    "synthetic": "The built-in synthetic corpus",
    "ravdess": "RAVDESS (Livingstone & Russo 2018, Zenodo record 1188976)",
}
_LIMITS = dict.fromkeys(
    ("synthetic", "ravdess"),
    "Acted emotions of North American actors speaking two sentences are not the emotions of life.",
)
_LIMITS["manifest"] = "It learnt the labels that somebody gave to these recordings, which are not what people feel."
_LICENCE = {
    "synthetic": "Apache-2.0, as crossmodal itself: the corpus is rendered by its code.",
    "ravdess": "RAVDESS is under CC BY-NC-SA 4.0, which binds these weights too: no commercial use, credit to its "
    "authors, and the same licence for what is made of them.",
    "manifest": "The recordings' licence and their speakers' consent may bind these weights: whoever passes them on "
    "has to say so here.",
}
_TITLES = {"finetune": "A voice model taught by a face", "control": "A voice model without a teacher"}
_ROWS = {
    "finetune": "the same taught by a face",
    "control": "the same without a teacher (control)",
    "teacher": "the teacher",
}
_USE = """\
## Use

```python
from crossmodal import EmotionRecognizer

recognizer = EmotionRecognizer.from_pretrained("path/to/this/folder")  # or its owner/name on the Hub
print(recognizer("clip.wav").label, recognizer("clip.wav").probabilities)
```

```bash
crossmodal predict --model path/to/this/folder clip.wav
crossmodal export path/to/this/folder --format onnx
```

The second command writes `model.onnx`, if it is not here yet. It takes sound and needs neither PyTorch nor crossmodal:

```python
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
waveform = np.zeros((1, 48000), np.float32)  # (batch, time): {sample_rate} Hz mono, in [-1, 1]
inputs = {{"waveform": waveform, "waveform_length": np.array([48000])}}  # of each, in samples
probabilities = session.run(["probabilities"], inputs)[0]  # (batch, {num_labels}), in the order above
```

## What it is for

**Meant for** research on emotion in speech and on what a face can teach a voice, with recordings of one person who
speaks for some seconds.

**Not meant for** decisions about people: at work, in education, in court, at a border, in care; for telling lies; for
what somebody feels. In the European Union it is forbidden to infer emotions at work and in education, but for medical
and safety reasons (AI Act, Article 5).
"""


def model_card(summary: dict[str, Any], config: dict[str, Any], parameters: int) -> str:
    """Write the card as Markdown, with the metadata header of the Hugging Face Hub.

    Args:
        summary: Of the run.
        config: What the model folder says of itself.
        parameters: How many numbers were learned.
    """
    corpus, model, labels = summary["corpus"], config["model"], ", ".join(config["labels"])
    lines = [
        "---",
        yaml.safe_dump(_metadata(summary, config), sort_keys=False, allow_unicode=True).rstrip(),
        "---",
        "",
        f"# {_TITLES[_stage(config)]}",
        "",
        *([SYNTHETIC_WARNING, ""] if corpus["kind"] == "synthetic" else []),
        *([LEAKAGE_WARNING, ""] if summary["speaker_dependent"] else []),
        f"It hears {labels}. No camera is needed: only the voice model is in this folder.",
        "",
        _USE.format(sample_rate=config["sample_rate"], num_labels=len(config["labels"])),
        "## Model",
        "",
        f"{model['front_end']} front end, {model['encoder']} encoder, {parameters:,} parameters, "
        f"{config['sample_rate']} Hz mono.",
        *_frozen_network(model),
        "",
        "## Data",
        "",
        _data(summary),
        "",
        *_results(summary, _stage(config)),
        *_calibration(config),
        "## Limits",
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
    """The header, in the Hub's words."""
    corpus, model = summary["corpus"], config["model"]
    metadata: dict[str, Any] = {
        "license": LICENCES[corpus["kind"]],
        **({"language": "en"} if corpus["kind"] == "ravdess" else {}),
        "library_name": "crossmodal",
        "pipeline_tag": "audio-classification",
        "tags": ["speech-emotion-recognition", "knowledge-distillation", "cross-modal"],
    }
    measured = summary["stages"].get(_stage(config))
    if measured is None:
        return metadata
    people = f"{_people(corpus)} {', '.join(corpus['actors']['test'])}"
    dataset = {"name": _corpus_name(corpus), "type": corpus["kind"], "split": f"{_protocol(summary)}: {people}"}
    metrics = [
        {"type": "recall", "name": "UAR (mean recall of the classes)", "value": round(measured["test_uar"], 4)},
        {"type": "accuracy", "name": "WAR", "value": round(measured["test_war"], 4)},
    ]
    task = {"type": "audio-classification", "name": "Speech emotion recognition"}
    results = [{"task": task, "dataset": dataset, "metrics": metrics}]
    return metadata | {
        "metrics": ["recall", "accuracy"],
        "model-index": [{"name": f"{model['front_end']} + {model['encoder']}", "results": results}],
    }


def _frozen_network(model: dict[str, Any]) -> list[str]:
    """What is said of weights that are not ours."""
    if model["front_end"] != "ssl":
        return []
    return [
        f"It listens through {model['front_end_kwargs']['bundle']}, whose weights lie unchanged in "
        "`front_end.safetensors` and are not counted here. They are under their authors' licence: see the bundle's "
        "page in the documentation of torchaudio.",
    ]


def _data(summary: dict[str, Any]) -> str:
    """What it was trained on, and who chose and tested it."""
    corpus = summary["corpus"]
    named = {split: ", ".join(people) for split, people in corpus["actors"].items()}
    channel = f", channel {summary['channel']}" if summary["channel"] else ""
    return (
        f"{_CORPORA.get(corpus['kind']) or corpus['name']}{channel}, {_protocol(summary)}. "
        f"{_people(corpus).capitalize()} trained on: {named['train']}; used to choose the model: {named['val']}; "
        f"tested on: {named['test']}."
    )


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
        "## Results",
        "",
        f"On the test {people}; UAR is the mean recall of the emotions, chance is {1 / len(summary['labels']):.3f}.",
        "",
        f"| | UAR | 95 % interval over {people} | accuracy |",
        "|---|---|---|---|",
        _row("this model", stages[stage]),
        *(_row(name, stages[other]) for other, name in _ROWS.items() if other in stages and other != stage),
        "",
    ]
    if gain := summary.get("gain"):
        low, high = gain["ci95_pp"]
        lines += [
            f"Gain over the control: {gain['uar_pp']:+.1f} points of UAR ({low:+.1f} to {high:+.1f}), one fold and one "
            f"seed.{'' if low > 0 or high < 0 else ' The interval holds zero: it is no evidence of a gain.'}",
            "",
        ]
    return lines


def _row(name: str, measured: Mapping[str, Any]) -> str:
    low, high = measured["test_uar_ci95"]
    return f"| {name} | {measured['test_uar']:.3f} | {low:.3f} to {high:.3f} | {measured['test_war']:.3f} |"


def _calibration(config: dict[str, Any]) -> list[str]:
    found = config.get("calibration")
    if not found:
        return []
    return [
        "## Calibration",
        "",
        f"Logits are divided by {config['temperature']:.2f}, which was fitted on {found['clips']} validation clips. "
        "Their calibration error, how far the model is from being as right as it is sure, was "
        f"{found['ece_before']:.3f} and is {found['ece_after']:.3f}. On recordings of another kind it may be surer "
        "than it is right.",
        "",
    ]
