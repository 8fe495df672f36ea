"""Stopping a run in this process, at a batch of one's choice."""

from crossmodal.pipeline.callbacks import SeedEachBatch


def at_each_batch(monkeypatch, do):
    """Have something done before each batch of each stage: `do(stage, epoch, batch)`."""
    seed = SeedEachBatch.on_train_batch_start

    def on_train_batch_start(callback, trainer, task, batch, batch_idx):
        do(task.stage, trainer.current_epoch, batch_idx)
        seed(callback, trainer, task, batch, batch_idx)

    monkeypatch.setattr(SeedEachBatch, "on_train_batch_start", on_train_batch_start)


def stop_at(monkeypatch, error, *where):
    """Stop a run before the batch of that stage, epoch and number."""

    def do(*here):
        if here == where:
            raise error

    at_each_batch(monkeypatch, do)
