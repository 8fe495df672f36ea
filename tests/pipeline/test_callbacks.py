import pytest
import torch
from lightning.pytorch import LightningModule
from torch.utils.data import DataLoader

from crossmodal.pipeline.callbacks import EpochBar, History, ProgressLines, SeedEachBatch
from crossmodal.tasks import FinetuneTask
from tests.pipeline import read_rows
from tests.tasks import tiny


class Draws(LightningModule):
    """Log a number and record the random numbers."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.drawn = []

    def training_step(self, batch, batch_idx):
        self.drawn.append((self.current_epoch, batch_idx, float(torch.rand(()))))
        self.log("draws/number", float(self.current_epoch), on_step=False, on_epoch=True)
        return self.layer(batch).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(folder, callbacks, max_epochs=3, ckpt_path=None):
    task = Draws()
    trainer = tiny.trainer(max_epochs, callbacks=callbacks, default_root_dir=folder)
    trainer.fit(task, DataLoader(torch.zeros(4, 1), batch_size=2), ckpt_path=ckpt_path, weights_only=True)
    return trainer, task


def test_random_numbers_depend_only_on_seed_epoch_and_batch(tmp_path):
    torch.manual_seed(1)
    first = fit(tmp_path, [SeedEachBatch(0)])[1].drawn
    torch.manual_seed(2)
    second = fit(tmp_path, [SeedEachBatch(0)])[1].drawn
    other = fit(tmp_path, [SeedEachBatch(1)])[1].drawn
    assert first == second
    numbers = [number for *_, number in first + other]
    assert len(set(numbers)) == len(numbers) == 12  # distinct for every batch, epoch and seed


def test_history_has_a_row_for_each_epoch(tmp_path):
    history = History()
    fit(tmp_path, [history])
    assert [(row["epoch"], row["draws/number"]) for row in history.rows] == [(0, 0), (1, 1), (2, 2)]


def test_history_is_stored_in_the_checkpoint(tmp_path):
    history = History()
    trainer, _ = fit(tmp_path, [history], max_epochs=2)
    seconds = history.seconds
    trainer.save_checkpoint(tmp_path / "part.ckpt")
    again = History()
    fit(tmp_path, [again], max_epochs=3, ckpt_path=tmp_path / "part.ckpt")
    assert [row["epoch"] for row in again.rows] == [0, 1, 2]
    assert again.seconds > seconds > 0


def test_history_counts_only_training_time(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("crossmodal.pipeline.callbacks.time.monotonic", lambda: now[0])
    history = History()
    history.load_state_dict({"rows": [], "seconds": 5.0})
    for passes, then in ((40.0, history.on_train_start), (2.0, lambda *_: None)):
        now[0] += passes
        then(None, None)
    assert history.state_dict()["seconds"] == 5.0 + 2.0
    now[0] += 3.0
    assert history.state_dict()["seconds"] == 5.0 + 2.0 + 3.0


def test_history_writes_a_column_per_name_and_an_empty_cell_for_a_missing_value(tmp_path):
    history = History()
    history.load_state_dict({"rows": [{"epoch": 0.0, "a": 1 / 3}, {"epoch": 1.0, "a": 0.5, "b": 1e-9}], "seconds": 0.0})
    history.write_csv(tmp_path / "metrics.csv")
    first, second = read_rows(tmp_path / "metrics.csv")
    assert first == {"epoch": "0", "a": "0.333333", "b": ""}
    assert second == {"epoch": "1", "a": "0.5", "b": "1e-09"}
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


@pytest.mark.parametrize("rank", [0, 3])
def test_each_process_draws_different_numbers(rank):
    class FakeTrainer:
        current_epoch = 2
        global_rank = rank

    SeedEachBatch(4).on_train_batch_start(FakeTrainer(), Draws(), None, 0)
    ours = torch.rand(3)
    FakeTrainer.global_rank = rank + 1
    SeedEachBatch(4).on_train_batch_start(FakeTrainer(), Draws(), None, 0)
    assert not torch.equal(ours, torch.rand(3))


def test_progress_lines_count_epochs_from_one(capsys):
    task = FinetuneTask(**tiny.STUDENT)
    batches = tiny.loader(tiny.voices([0, 1, 2, 3]))
    tiny.fit(task, batches, batches, max_epochs=25, callbacks=[ProgressLines()])
    lines = capsys.readouterr().out.splitlines()
    printed = [line for line in lines if line.startswith("finetune: epoch")]
    assert [line.split()[2].rstrip(",") for line in printed] == [f"{epoch}/25" for epoch in (*range(3, 25, 3), 25)]
    assert float(printed[-1].split()[-1]) == pytest.approx(
        float(task.trainer.callback_metrics["finetune/val_uar"]), abs=1e-3
    )


def test_the_bar_counts_epochs_from_one():
    bar = EpochBar()
    bar._trainer = tiny.trainer(max_epochs=12)
    assert [bar._get_train_description(epoch).strip() for epoch in (0, 11)] == ["Epoch 1/12", "Epoch 12/12"]
