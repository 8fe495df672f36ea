"""The model card: what the model is, what it was measured on, and what it must not be taken for."""

from typing import Any

SYNTHETIC_WARNING = (
    "**Trained and measured on the built-in synthetic corpus: it shows that the machine works, and says nothing about "
    "people.**"
)
LEAKAGE_WARNING = (
    "**Speaker-dependent: the same actors are in training and test. These figures do not tell how the model does on "
    "people it has not heard.**"
)


def model_card(summary: dict[str, Any], config: dict[str, Any], parameters: int) -> str:
    """The card as Markdown, with the metadata header of the Hugging Face Hub."""
    corpus, model = summary["corpus"], config["model"]
    synthetic = corpus["kind"] == "synthetic"
    lines = [
        "---",
        f"license: {'apache-2.0' if synthetic else 'cc-by-nc-sa-4.0'}",
        "library_name: crossmodal",
        "pipeline_tag: audio-classification",
        "tags: [speech-emotion-recognition, knowledge-distillation, cross-modal]",
        "---",
        "",
        "# A voice model taught by a face",
        "",
        *([SYNTHETIC_WARNING, ""] if synthetic else []),
        *([LEAKAGE_WARNING, ""] if summary["speaker_dependent"] else []),
        f"It hears {', '.join(config['labels'])}. No camera is needed: only the voice model is in this folder.",
        "",
        "```python",
        "from crossmodal import EmotionRecognizer",
        "",
        'recognizer = EmotionRecognizer.from_pretrained("path/to/this/folder")',
        'print(recognizer("clip.wav").label)',
        "```",
        "",
        "## Model",
        "",
        f"{model['front_end']} front end, {model['encoder']} encoder, {parameters:,} parameters, "
        f"{config['sample_rate']} Hz mono.",
        *_frozen_network(model),
        "",
        "## Data",
        "",
        f"{_corpus_name(corpus['kind'])}, channel {summary['channel']}, protocol {summary['protocol']}, fold "
        f"{summary['fold']}. Actors trained on: {', '.join(corpus['actors']['train'])}; used to choose the model: "
        f"{', '.join(corpus['actors']['val'])}; tested on: {', '.join(corpus['actors']['test'])}.",
        "",
        *_results(summary),
        "## Limits",
        "",
        "Acted emotions of North American actors speaking two sentences are not the emotions of life. Do not use it to "
        "judge people.",
        "",
    ]
    return "\n".join(lines)


def _frozen_network(model: dict[str, Any]) -> list[str]:
    """What is said of weights that are not ours."""
    if model["front_end"] != "ssl":
        return []
    return [
        f"It listens through {model['front_end_kwargs']['bundle']}, whose weights lie unchanged in "
        "`front_end.safetensors` and are not counted here. They are under their authors' licence: see the bundle's "
        "page in the documentation of torchaudio.",
    ]


def _corpus_name(kind: str) -> str:
    if kind == "synthetic":
        return "The built-in synthetic corpus"
    return "RAVDESS (Livingstone & Russo 2018, Zenodo record 1188976, CC BY-NC-SA 4.0, which binds these weights too)"


def _results(summary: dict[str, Any]) -> list[str]:
    stages = summary["stages"]
    if "finetune" not in stages:
        return []
    low, high = stages["finetune"]["test_uar_ci95"]
    lines = [
        "## Results",
        "",
        f"UAR {stages['finetune']['test_uar']:.3f} (95 % interval over actors {low:.3f} to {high:.3f}), accuracy "
        f"{stages['finetune']['test_war']:.3f} on the test actors; chance is {1 / len(summary['labels']):.3f}.",
    ]
    if gain := summary.get("gain"):
        low, high = gain["ci95_pp"]
        lines.append(
            f"Against the same student without a teacher: {gain['uar_pp']:+.1f} points of UAR "
            f"({low:+.1f} to {high:+.1f}), one fold and one seed."
        )
    return [*lines, ""]
