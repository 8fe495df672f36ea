"""The control gets what the student gets, except the teacher."""

import pytest
import torch
from safetensors.torch import load_file

from crossmodal.pipeline.callbacks import SeedEachBatch
from crossmodal.pipeline.stage import START
from tests.pipeline import fit, read_rows

PAIRS = [("supervised", "transfer"), ("control", "finetune")]
STARTS = {"control": "supervised", "finetune": "transfer"}


@pytest.fixture(scope="module")
def recorded(tiny_args, tmp_path_factory):
    """The folder of a run with one labelled actor, and by stage its batches, learning rates and initial weights."""
    batches, rates, initial = {}, {}, {}
    seed = SeedEachBatch.on_train_batch_start

    def on_train_batch_start(callback, trainer, task, batch, batch_idx):
        seed(callback, trainer, task, batch, batch_idx)
        if "teachers" in trainer.default_root_dir:  # a voice teacher is trained by the stage supervised too
            return
        initial.setdefault(task.stage, {name: value.clone() for name, value in task.model.state_dict().items()})
        where = (trainer.current_epoch, batch_idx)
        batches.setdefault(task.stage, []).append((*where, batch["clip"], batch["label"].tolist()))
        rates.setdefault(task.stage, []).append(trainer.optimizers[0].param_groups[0]["lr"])

    folder = tmp_path_factory.mktemp("recorded")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SeedEachBatch, "on_train_batch_start", on_train_batch_start)
        summary = fit(tiny_args(folder, "--data.labelled_actors=1"))
    return summary, folder / "runs" / "fit", batches, rates, initial


@pytest.mark.parametrize("ours, theirs", PAIRS)
def test_the_control_gets_the_batches_and_learning_rates_of_the_student(recorded, ours, theirs):
    summary, _, batches, rates, _ = recorded
    assert batches[ours] == batches[theirs]
    assert rates[ours] == rates[theirs]
    assert len(batches[ours]) == 4 * summary["stages"][ours]["epochs"]  # 32 clips in batches of 8
    labels = {clip: label for *_, clips, labels in batches[ours] for clip, label in zip(clips, labels, strict=True)}
    (labelled,) = summary["corpus"]["labelled_actors"]
    assert {clip[-2:] for clip in labels} == {*summary["corpus"]["actors"]["train"]}
    assert all((label >= 0) == (clip[-2:] == labelled) for clip, label in labels.items())


def test_the_control_and_the_student_start_from_the_same_weights(recorded):
    *_, initial = recorded
    assert_equal_weights(initial["supervised"], initial["transfer"])


@pytest.mark.parametrize("stage, start", STARTS.items())
def test_second_stages_start_from_the_kept_weights_of_the_first(recorded, stage, start):
    _, folder, *_, initial = recorded
    assert_equal_weights(initial[stage], load_file(folder / start / "model.safetensors"))


def test_a_student_without_any_loss_of_the_teacher_equals_its_control(store, tiny_args):
    losses = ("--transfer.model.kd_loss=null", "--transfer.model.align_loss=null")
    summary = fit(tiny_args(store, *losses))
    for ours, theirs in PAIRS:
        assert not summary["stages"][theirs]["reused"]
        one, other = (store / "runs" / "fit" / stage for stage in (ours, theirs))
        assert (one / "predictions.csv").read_bytes() == (other / "predictions.csv").read_bytes()
        assert_equal_weights(*(load_file(folder / "model.safetensors") for folder in (one, other)))
    assert summary["gain"]["uar_pp"] == 0


@pytest.mark.parametrize("lr", ["10", "1e-12"], ids=["worse", "equal"])
def test_the_start_is_kept_if_no_epoch_is_better_on_validation(finished, store, tiny_args, lr):
    stages = fit(tiny_args(store, f"--finetune.model.lr={lr}"))["stages"]
    run = store / "runs" / "fit"
    for stage, start in STARTS.items():
        curve = [float(row[f"{stage}/val_uar"]) for row in read_rows(run / stage / "metrics.csv")]
        assert (max(curve) < stages[start]["val_uar"] - 0.1) == (lr == "10")
        assert stages[stage]["best_epoch"] == START
        measured = [name for name in stages[stage] if name.startswith(("val_", "test_"))]
        assert {name: stages[stage][name] for name in measured} == {name: stages[start][name] for name in measured}
        assert (run / stage / "predictions.csv").read_bytes() == (run / start / "predictions.csv").read_bytes()
        assert_equal_weights(*(load_file(run / name / "model.safetensors") for name in (stage, start)))
        assert_equal_weights(weights_of_best(run / stage), load_file(run / start / "model.safetensors"))


def test_an_epoch_that_is_better_on_validation_is_kept(store, tiny_args):
    """The first stages learn almost nothing."""
    stages = fit(tiny_args(store, "--transfer.model.lr=1e-9", "--finetune.model.lr=3e-3"))["stages"]
    for stage, start in STARTS.items():
        run = store / "runs" / "fit"
        curve = [float(row[f"{stage}/val_uar"]) for row in read_rows(run / stage / "metrics.csv")]
        assert max(curve) > stages[start]["val_uar"]
        assert stages[stage]["best_epoch"] == curve.index(max(curve))
        assert stages[stage]["val_uar"] == pytest.approx(max(curve), abs=1e-5)
        ours, theirs = (load_file(run / name / "model.safetensors") for name in (stage, start))
        assert not all(torch.equal(ours[name], theirs[name]) for name in ours)
        assert_equal_weights(weights_of_best(run / stage), ours)


def weights_of_best(folder):
    """Return the model's weights in a stage's best checkpoint."""
    state = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    return {name.removeprefix("model."): value for name, value in state.items() if name.startswith("model.")}


def assert_equal_weights(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name
