import numpy as np

from crossmodal.evaluation.predictions import Predictions

LABELS = ("neutral", "calm", "happy", "sad")


def make_predictions(clips=60, actors=6, seed=0, skill=1.0, splits=("val", "test"), labels=LABELS, absent=()):
    """Create random predictions. A higher `skill` gives more correct ones; `absent` classes never occur."""
    rng = np.random.default_rng(seed)
    targets = rng.choice([index for index in range(len(labels)) if index not in absent], clips)
    logits = rng.normal(size=(clips, len(labels)))
    logits[np.arange(clips), targets] += skill
    exponentials = np.exp(logits)
    return Predictions(
        labels,
        [f"clip-{index:03d}" for index in range(clips)],
        [f"{index % actors + 1:02d}" for index in range(clips)],
        [splits[index // actors % len(splits)] for index in range(clips)],
        targets.astype(np.int64),
        exponentials / exponentials.sum(axis=1, keepdims=True),
    )


def shuffle(predictions: Predictions) -> Predictions:
    """Return the same predictions with the clips in another order."""
    order = np.random.default_rng(0).permutation(len(predictions.clips))
    names = ([column[row] for row in order] for column in (predictions.clips, predictions.actors, predictions.splits))
    return Predictions(predictions.labels, *names, predictions.targets[order], predictions.probabilities[order])
