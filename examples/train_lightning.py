"""Train a face teacher, a voice student and its control in plain Lightning."""

import argparse

from lightning.pytorch import LightningModule, Trainer, seed_everything

from crossmodal import AudioDataModule, ControlTask, PairedDataModule, TeacherTask, TransferTask
from crossmodal.models.serialization import save_model


def train(task: LightningModule, data: AudioDataModule | PairedDataModule, epochs: int) -> float:
    """Train a task and return its UAR on the test actors."""
    seed_everything(0)
    trainer = Trainer(max_epochs=epochs, logger=False, enable_checkpointing=False, enable_model_summary=False)
    trainer.fit(task, datamodule=data)
    return trainer.test(task, datamodule=data, verbose=False)[0][f"{task.stage}/test_uar"]


def main() -> None:
    """Read the arguments and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", help="folder of the extracted RAVDESS files")
    parser.add_argument("--protocol", default="seq6", help="default: %(default)s")
    parser.add_argument("--backbone", default="mobilenetv3_small_100", help="any timm model; default: %(default)s")
    parser.add_argument("--random-weights", action="store_true", help="train the backbone from scratch")
    parser.add_argument("--epochs", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--teacher", default="teacher.safetensors", help="file to write; default: %(default)s")
    args = parser.parse_args()

    pairs = PairedDataModule(root=args.root, protocol=args.protocol)
    teacher = TeacherTask(
        backbone=args.backbone, pretrained=not args.random_weights, freeze_backbone=not args.random_weights
    )
    print(f"teacher: test UAR {train(teacher, pairs, args.epochs):.3f}")
    # The file names the training actors: a student whose validation or test actors are among them refuses the teacher.
    save_model(teacher.model, args.teacher, train_actors=sorted({clip.actor for clip in pairs.split["train"]}))

    student = TransferTask(encoder="dense", front_end="lmfb", teacher=args.teacher)
    control = ControlTask(encoder="dense", front_end="lmfb")
    taught, alone = train(student, pairs, args.epochs), train(control, pairs, args.epochs)
    print(f"student: test UAR {taught:.3f}; control: {alone:.3f}; gain {100 * (taught - alone):+.1f} points")


if __name__ == "__main__":  # child processes that decode recordings import this file
    main()
