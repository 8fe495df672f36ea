"""Interrupt a run in this process at a given batch."""

from crossmodal.pipeline.callbacks import SeedEachBatch


def at_each_batch(monkeypatch, do):
    """Call `do(stage, epoch, batch)` before each batch of each stage."""
    seed = SeedEachBatch.on_train_batch_start

    def on_train_batch_start(callback, trainer, task, batch, batch_idx):
        do(task.stage, trainer.current_epoch, batch_idx)
        seed(callback, trainer, task, batch, batch_idx)

    monkeypatch.setattr(SeedEachBatch, "on_train_batch_start", on_train_batch_start)


def stop_at(monkeypatch, error, *where):
    """Raise an error before the batch with the given stage, epoch and index."""

    def do(*here):
        if here == where:
            raise error

    at_each_batch(monkeypatch, do)


def assert_same_results(ours, theirs, *names):
    """Check that two runs have equal files in each stage."""
    for stage in ("teacher", "supervised", "control", "transfer", "finetune"):
        for name in ("predictions.csv", "metrics.csv", *names):
            assert (ours / stage / name).read_bytes() == (theirs / stage / name).read_bytes(), f"{stage}/{name}"
