"""Model card: the README.md of a model folder."""

from pathlib import Path
from typing import Any

from crossmodal.labels_for_people import corpus_name, format_for, interval_text, protocol_name

SYNTHETIC_WARNING = (
    "**Trained and evaluated on the built-in synthetic corpus. It shows that the software works and is no evidence "
    "about people.**"
)
LEAKAGE_WARNING = (
    "**Speaker-dependent: the same speakers are in training and test. The results do not apply to unseen speakers.**"
)
UNKNOWN = "unknown"  # kind of the corpus of a model that was not trained by `fit`
# By the kind of corpus.
LICENCES = {"synthetic": "apache-2.0", "ravdess": "cc-by-nc-sa-4.0", "manifest": "other", UNKNOWN: "other"}
_TITLES = {
    "synthetic": "The built-in synthetic corpus",
    "ravdess": "RAVDESS (Livingstone & Russo 2018, Zenodo record 1188976)",
    UNKNOWN: "Not recorded",
}
_ROWS = {"finetune": "student (with teacher)", "control": "control (without teacher)", "teacher": "teacher"}
_SPLITS = {"train": "training", "val": "validation (model selection)", "test": "test"}


def model_card(summary: dict[str, Any], config: dict[str, Any], parameters: int) -> str:
    """Return the card as Markdown, with the metadata header of the Hugging Face Hub, for the summary of a run."""
    from jinja2 import Environment

    corpus, stages, stage = summary["corpus"], summary["stages"], config.get("stage", "finetune")
    protocol = ""
    if corpus["kind"] != UNKNOWN:
        protocol = f"protocol {protocol_name(summary['protocol'], summary.get('num_folds'))}, fold {summary['fold']}"
    people = format_for(corpus, "actors")
    others = {name: stages[other] for other, name in _ROWS.items() if other in stages and other != stage}
    source = Path(__file__).with_name("model_card.md.jinja").read_text(encoding="utf-8")
    template = Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True).from_string(source)
    return template.render(
        summary,
        config=config,
        interval_text=interval_text,
        corpus_title=_TITLES.get(corpus["kind"]) or corpus_name(corpus),
        leakage_warning=LEAKAGE_WARNING,
        metadata=_metadata(corpus, config, stages.get(stage), f"{protocol}: {people}"),
        parameters=parameters,
        people=people,
        protocol=protocol,
        rows={"this model": stages.get(stage)} | others,
        splits=_SPLITS,
        stage=stage,
        synthetic_warning=SYNTHETIC_WARNING,
    )


def _metadata(corpus: dict[str, Any], config: dict[str, Any], results: dict[str, Any] | None, split: str) -> str:
    """Return the header with the keys that the Hub defines."""
    from huggingface_hub import EvalResult, ModelCardData

    evaluation: dict[str, Any] = {}
    if results:
        shared = {
            "task_type": "audio-classification",
            "task_name": "Speech emotion recognition",
            "dataset_type": corpus["kind"],
            "dataset_name": corpus_name(corpus),
            "dataset_split": f"{split} {', '.join(corpus['actors']['test'])}",
        }
        uar, war = round(results["test_uar"], 4), round(results["test_war"], 4)
        evaluation = {
            "metrics": ["recall", "accuracy"],
            "model_name": f"{config['model']['front_end']} + {config['model']['encoder']}",
            "eval_results": [
                EvalResult(
                    **shared, metric_type="recall", metric_name="UAR (unweighted average recall)", metric_value=uar
                ),
                EvalResult(**shared, metric_type="accuracy", metric_name="WAR (accuracy)", metric_value=war),
            ],
        }
    card = ModelCardData(
        license=LICENCES[corpus["kind"]],
        language="en" if corpus["kind"] == "ravdess" else None,
        library_name="crossmodal",
        pipeline_tag="audio-classification",
        tags=["speech-emotion-recognition", "knowledge-distillation", "cross-modal"],
        **evaluation,
    )
    return str(card.to_yaml())
