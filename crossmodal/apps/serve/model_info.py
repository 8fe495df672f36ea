"""The response of ``/v1/model``, and the comparison of a model with its control."""

from typing import Any

from crossmodal.apps.serve.limits import SAMPLE_RATES
from crossmodal.apps.serve.service import Service
from crossmodal.errors import ConfigError
from crossmodal.inference.colours import colours_of
from crossmodal.inference.model_card import LICENCES
from crossmodal.inference.recognizer import EmotionRecognizer
from crossmodal.inference.recording import LONGEST
from crossmodal.version import __version__

_TRAINED_ON = ("channel", "label_set", "protocol", "fold", "actors_seen", "speaker_dependent")
_COMPARED = {"actors_seen": "training actors", "protocol": "protocol", "fold": "fold", "channel": "channel"}


def describe_models(service: Service) -> dict[str, Any]:
    """Return what ``/v1/model`` answers."""
    model, control, limits = service.models["model"], service.models.get("control"), service.limits
    return {
        **_describe(model),
        "labels": list(model.labels),
        "colours": colours_of(model.labels),
        "sample_rate": model.sample_rate,
        "control": control and {**_describe(control), "differences": _differences(model.config, control.config)},
        "limits": {
            **{name: getattr(limits, name) for name in ("upload_bytes", "channels", "requests", "streams")},
            "seconds": min(LONGEST, limits.seconds),
            "timeline_seconds": limits.seconds,
            "sample_rates": SAMPLE_RATES,
        },
        "versions": {"crossmodal": __version__},
    }


def _describe(recognizer: EmotionRecognizer) -> dict[str, Any]:
    config = recognizer.config
    corpus = config.get("corpus", {}).get("kind", "unknown")
    return {
        "backend": recognizer.backend,
        **{key: str(config["model"].get(key, "unknown")) for key in ("front_end", "encoder")},
        "trained_on": {"corpus": corpus} | {key: config[key] for key in _TRAINED_ON if key in config},
        "licence": LICENCES.get(corpus, "unknown"),
        "warning": recognizer.warning,
    }


def check_control(model: EmotionRecognizer, control: EmotionRecognizer) -> None:
    """Raise ConfigError if a model and its control have different labels or sample rates."""
    for name in ("labels", "sample_rate"):
        ours, other = getattr(model, name), getattr(control, name)
        if ours != other:
            raise ConfigError(
                f"The control's {name} is {other}, the model's is {ours}: use the control of the same run."
            )


def _differences(ours: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Return the settings, other than the teacher, in which a model differs from its control."""
    differences = [name for key, name in _COMPARED.items() if ours.get(key) != other.get(key)]
    same_network = all(ours["model"].get(key) == other["model"].get(key) for key in ("front_end", "encoder"))
    return differences + ["network"] * (not same_network)
