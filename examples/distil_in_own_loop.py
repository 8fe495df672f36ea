"""Distil a teacher into a student in a plain PyTorch loop, with the losses of crossmodal."""

import argparse

import torch
from torch import nn
from torch.nn import functional

from crossmodal.losses import LogitStandardizedKDLoss, StandardizedMSELoss

NUM_CLIPS, NUM_CLASSES, AUDIO_SIZE, FACE_SIZE, EMBEDDING_SIZE = 256, 8, 40, 35, 64


def make_network(input_size: int) -> nn.ModuleDict:
    """Return a network with an embedding and a classifier."""
    embed = nn.Sequential(nn.Linear(input_size, 128), nn.ReLU(), nn.Linear(128, EMBEDDING_SIZE))
    return nn.ModuleDict({"embed": embed, "classify": nn.Linear(EMBEDDING_SIZE, NUM_CLASSES)})


def main() -> None:
    """Train a teacher on faces and a student on audio; both inputs are random numbers that depend on the label."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200, help="default: %(default)s")
    args = parser.parse_args()

    torch.manual_seed(0)
    labels = torch.randint(NUM_CLASSES, (NUM_CLIPS,))
    faces = torch.randn(NUM_CLASSES, FACE_SIZE)[labels] + torch.randn(NUM_CLIPS, FACE_SIZE)
    audio = torch.randn(NUM_CLASSES, AUDIO_SIZE)[labels] + 2 * torch.randn(NUM_CLIPS, AUDIO_SIZE)

    teacher, student = make_network(FACE_SIZE), make_network(AUDIO_SIZE)
    optimizer = torch.optim.AdamW(teacher.parameters(), lr=1e-3)
    for _ in range(args.steps):
        loss = functional.cross_entropy(teacher["classify"](teacher["embed"](faces)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        teacher_embedding = teacher["embed"](faces)
        teacher_logits = teacher["classify"](teacher_embedding)

    kd, align = LogitStandardizedKDLoss(temperature=2.0), StandardizedMSELoss(EMBEDDING_SIZE)
    project = nn.Linear(EMBEDDING_SIZE, EMBEDDING_SIZE)  # the two embeddings have nothing in common
    optimizer = torch.optim.AdamW([*student.parameters(), *project.parameters()], lr=1e-3)
    for step in range(args.steps):
        embedding = student["embed"](audio)
        logits = student["classify"](embedding)
        task_loss = functional.cross_entropy(logits, labels)
        loss = task_loss + 0.3 * kd(logits, teacher_logits) + 0.5 * align(project(embedding), teacher_embedding)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 50 == 0 or step == args.steps - 1:
            print(f"step {step}: loss {loss:.3f}, task loss {task_loss:.3f}")


if __name__ == "__main__":
    main()
