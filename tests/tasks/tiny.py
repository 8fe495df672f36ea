"""Short clips in memory and a silent Trainer."""

import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from crossmodal.datamodules import collate_clips

NUM_CLASSES = 4
FEATURES = 6  # width of the face embeddings
COMMON = {"dropout": 0.0, "num_classes": NUM_CLASSES, "lr": 1e-2}
DENSE = {"encoder": "dense", "encoder_kwargs": {"hidden_size": 32, "dropout": 0.0}}
STUDENT = {"front_end_kwargs": {"n_mfcc": 13}, "embedding_size": 16, **DENSE, **COMMON}
TEACHER = {"backbone": None, "in_features": FEATURES, "embedding_size": 5, "hidden_size": 16, **COMMON}


def voices(labels, seed=0, loudness=0.3):
    """Return a tone in noise for each label, in clips of different lengths."""
    generator = torch.Generator().manual_seed(seed)
    items = []
    for number, label in enumerate(labels):
        seconds = torch.arange(3200 + 320 * number) / 16000
        noise = 0.05 * torch.randn(len(seconds), generator=generator)
        tone = torch.sin(2 * torch.pi * 400 * (label + 2) * seconds)
        items.append({"clip": f"clip-{number}", "label": label, "waveform": loudness * (tone + noise)})
    return items


def faces(labels, seed=0, size=32):
    """Return two video frames of noise for each label."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (len(labels), 2, 3, size, size), dtype=torch.uint8, generator=generator)
    return [{"clip": f"clip-{row}", "label": label, "faces": pixels[row]} for row, label in enumerate(labels)]


def face_embeddings(labels, seed=0):
    """Return embeddings of three video frames for each label, far from those of other labels."""
    generator = torch.Generator().manual_seed(seed)
    items = []
    for number, label in enumerate(labels):
        embedding = 4 + 0.3 * torch.randn(3, FEATURES, generator=generator)
        embedding[:, label % FEATURES] += 3
        items.append({"clip": f"clip-{number}", "label": label, "face_embeddings": embedding})
    return items


def with_teacher_outputs(items, width=5, seed=1):
    """Return the items with random teacher outputs."""
    generator = torch.Generator().manual_seed(seed)
    widths = {"teacher_embedding": width, "teacher_logits": NUM_CLASSES}
    return [item | {name: torch.randn(of, generator=generator) for name, of in widths.items()} for item in items]


def loader(items, batch_size=4, **kwargs):
    return DataLoader(items, batch_size=batch_size, collate_fn=collate_clips, **kwargs)


def trainer(max_epochs=1, **kwargs):
    off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary", "num_sanity_val_steps")
    return Trainer(accelerator="cpu", devices=1, max_epochs=max_epochs, **dict.fromkeys(off, False) | kwargs)


def fit(task, training, validation=None, max_epochs=1, **kwargs):
    """Train a task with a plain Trainer and return the Trainer."""
    plain = trainer(max_epochs, **kwargs)
    plain.fit(task, training, validation)
    return plain
