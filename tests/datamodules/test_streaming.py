import inspect
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from crossmodal import FinetuneTask, StreamingPairedDataModule, TeacherTask, TransferTask
from crossmodal.cli.main import main
from crossmodal.datamodules import CorpusDataModule, PairedDataModule
from crossmodal.datamodules.clip_dataset import Shard
from crossmodal.datasets.complete_clips import MAX_DURATION
from crossmodal.datasets.stream.reader import read_about
from crossmodal.errors import ConfigError, CorpusNotFoundError, DataError, LeakageError, MissingExtraError
from crossmodal.models.serialization import save_model
from tests.datamodules import train_on_a_stream
from tests.datamodules.train_on_a_stream import train
from tests.datasets.stream.tiny_stream import write_tiny_stream
from tests.tasks.tiny import STUDENT, TEACHER, fit, trainer

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

FACE_MODEL = TEACHER | {"backbone": "test_resnet", "pretrained": False, "in_features": None}
SCRIPT = Path(train_on_a_stream.__file__)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Return a stream of 23 training, 11 validation and 7 test clips."""
    folder = tmp_path_factory.mktemp("tiny_stream")
    return str(write_tiny_stream(folder / "stream", folder))


@pytest.fixture(scope="module")
def recorded(tiny_videos, tmp_path_factory):
    """Return a stream of recordings written by the command."""
    target = str(tmp_path_factory.mktemp("recorded") / "stream")
    sizes = ["--num_video_frames", "3", "--face_size", "32"]
    protocol = ["--channel", "speech", "--protocol", "loso24", "--fold", "1"]
    assert main(["data", "prepare", str(tiny_videos), *sizes, *protocol, "--to", "litdata", target]) == 0
    return target


@pytest.fixture(scope="module")
def paired(tiny_videos):
    """Return a datamodule of the same recordings without a stream."""
    datamodule = PairedDataModule(
        str(tiny_videos), protocol="loso24", fold=1, num_video_frames=3, face_size=32, batch_size=3
    )
    datamodule.prepare_data()
    datamodule.setup()
    return datamodule


def loader(datamodule, split):
    return getattr(datamodule, f"{split}_dataloader")()


def names(batches):
    return [name for batch in batches for name in batch["clip"]]


def together(parts):
    return [name for part in parts for name in part]


def same(one, other):
    return one.keys() == other.keys() and all(
        one[name] == other[name] if name == "clip" else one[name].dtype == other[name].dtype
        and torch.equal(one[name], other[name])
        for name in one
    )  # fmt: skip


class TestBatches:
    @pytest.mark.parametrize("prefix", ["", "local:"])
    @pytest.mark.parametrize("split", ["val", "test"])
    def test_validation_and_test_batches_equal_the_paired_datamodule(self, recorded, paired, prefix, split):
        streamed = loader(StreamingPairedDataModule(prefix + recorded, batch_size=3), split)
        expected = list(loader(paired, split))
        assert len(streamed) == len(expected) == 3
        assert all(same(one, other) for one, other in zip(streamed, expected, strict=True))

    def test_training_clips_equal_the_paired_datamodule(self, recorded, paired):
        streamed = StreamingPairedDataModule(recorded, batch_size=1)
        alone = {clip.clip: next(iter(paired.loader([clip]))) for clip in paired.split["train"]}
        batches = list(streamed.train_dataloader())
        assert sorted(names(batches)) == sorted(alone)
        assert all(same(batch, alone[batch["clip"][0]]) for batch in batches)

    def test_properties_equal_the_paired_datamodule(self, recorded, paired):
        streamed = StreamingPairedDataModule(recorded)
        for name in ("labels", "num_classes", "held_out_actors", "is_speaker_dependent", "is_synthetic"):
            assert getattr(streamed, name) == getattr(paired, name), name

    def test_unlabelled_clips_have_label_minus_one(self, tiny):
        labels = torch.cat([batch["label"] for batch in StreamingPairedDataModule(tiny).val_dataloader()])
        assert labels.tolist() == [0, 1, 2, 3, -1, 0, 1, 2, 3, -1, 0]

    def test_a_speaker_dependent_stream_has_no_held_out_actors(self, tiny, monkeypatch):
        datamodule = StreamingPairedDataModule(tiny)
        assert datamodule.held_out_actors == {"03", "04"}
        object.__setattr__(datamodule.about, "is_speaker_dependent", True)
        assert datamodule.held_out_actors == set()

    def test_workers_do_not_change_the_clips(self, tiny):
        alone, helped = (StreamingPairedDataModule(tiny, batch_size=4, num_workers=n) for n in (0, 2))
        for split in ("val", "test"):
            batches = list(loader(helped, split))
            assert sorted(names(batches)) == names(loader(alone, split))
            assert len(batches) == len(loader(helped, split))
        assert len(set(names(helped.train_dataloader()))) == 20

    def test_max_duration_equals_the_other_datamodules(self):
        assert inspect.signature(CorpusDataModule).parameters["max_duration"].default == MAX_DURATION


class TestOrder:
    def test_each_epoch_has_a_new_order_without_the_smaller_batch(self, tiny):
        batches = StreamingPairedDataModule(tiny, batch_size=4).train_dataloader()
        epochs = [names(batches) for _ in range(3)]
        assert len(batches) == 5
        assert all(len(set(epoch)) == len(epoch) == 20 for epoch in epochs)
        assert len({tuple(epoch) for epoch in epochs}) == 3
        assert len(set(together(epochs))) == 23  # the dropped clips differ between epochs

    def test_order_depends_only_on_the_seed(self, tiny):
        def epochs(seed):
            batches = StreamingPairedDataModule(tiny, seed=seed, batch_size=4).train_dataloader()
            return [names(batches) for _ in range(2)]

        assert epochs(1) == epochs(1) != epochs(2)

    @pytest.mark.parametrize("kind", ["local:", "called vast"])
    def test_order_does_not_depend_on_the_location(self, tiny, tmp_path, kind):
        """litdata shuffles differently on some file systems, and detects one of them by its name."""
        elsewhere = f"local:{tiny}" if kind == "local:" else str(shutil.copytree(tiny, tmp_path / "vast" / "stream"))
        orders = [names(StreamingPairedDataModule(where).train_dataloader()) for where in (tiny, elsewhere)]
        assert orders[0] == orders[1]

    def test_fewer_clips_than_a_batch_form_one_batch(self, tiny):
        (batch,) = StreamingPairedDataModule(tiny, batch_size=99).train_dataloader()
        assert len(batch["clip"]) == 23


class TestProcesses:
    """Batches of several processes, read without starting them."""

    @staticmethod
    def read(tiny, split, processes, batch_size, num_workers=0, seed=None):
        from crossmodal.datamodules.clip_stream import ClipStreamLoader

        count = read_about(tiny).num_clips[split]
        loaders = [
            ClipStreamLoader(tiny, split, count, batch_size, num_workers, Shard(rank, processes), seed)
            for rank in range(processes)
        ]
        epochs = [[list(one) for one in loaders] for _ in range(3)]
        assert all([len(batches) for batches in epoch] == [len(one) for one in loaders] for epoch in epochs)
        return epochs

    @pytest.mark.parametrize(
        ("split", "processes", "batch_size", "num_workers"),
        [("val", 2, 4, 0), ("val", 3, 32, 0), ("val", 4, 5, 0), ("test", 7, 7, 0), ("test", 2, 4, 2), ("val", 2, 2, 2)],
    )
    def test_every_held_out_clip_is_in_one_process_once(self, tiny, split, processes, batch_size, num_workers):
        parts = self.read(tiny, split, processes, batch_size, num_workers)[0]
        everything = together(map(names, parts))
        assert len(everything) == len(set(everything)) == read_about(tiny).num_clips[split]
        assert all(parts), "every process needs a clip for reductions"

    @pytest.mark.parametrize(("processes", "batch_size", "workers"), [(2, 4, 0), (2, 4, 2), (3, 6, 0), (4, 4, 0)])
    @pytest.mark.parametrize("nodes", [1, 2])
    def test_processes_have_equally_many_full_batches_and_share_no_clips(
        self, tiny, processes, batch_size, workers, nodes, monkeypatch
    ):
        monkeypatch.setenv("NNODES", str(nodes))  # set by torchrun; litdata alone would then read clips twice
        for epoch in self.read(tiny, "train", processes, batch_size, workers, seed=3):
            sizes = [[len(batch["clip"]) for batch in part] for part in epoch]
            assert sizes == [[batch_size // processes] * (23 // batch_size)] * processes
            everything = together(map(names, epoch))
            assert len(everything) == len(set(everything))

    def test_a_single_pass_has_every_training_clip_once(self, tiny):
        from crossmodal.datamodules.clip_stream import ClipStreamLoader

        loaders = [ClipStreamLoader(tiny, "train", 23, 4, 0, Shard(rank, 2), shuffle_seed=0) for rank in range(2)]
        everything = together(names(one.single_pass()) for one in loaders)
        assert len(everything) == len(set(everything)) == 23

    def test_indivisible_clips_are_a_config_error(self, tiny):
        with pytest.raises(ConfigError, match=r"batch_size 5 .* 2 processes.* 6"):
            self.read(tiny, "train", 2, 5, seed=0)
        with pytest.raises(ConfigError, match=r"7 .* 8 processes"):
            self.read(tiny, "test", 8, 8)


class BatchRecorder(Callback):
    """Records the clips of every training batch."""

    def __init__(self):
        self.batches = []

    def on_train_batch_start(self, trainer, module, batch, index):
        self.batches.append((trainer.current_epoch, index, batch["clip"]))


class TestTraining:
    @staticmethod
    def teacher(path, actors):
        """Save a face model with these training actors and return its path."""
        save_model(TeacherTask(**FACE_MODEL).model, path, train_actors=actors)
        return str(path)

    @staticmethod
    def train(stream, max_epochs, checkpoints=None, resume=None, num_workers=0):
        """Train the voice model and return epoch, index and clips of every batch."""
        recorder = BatchRecorder()
        callbacks = [recorder]
        if checkpoints:
            callbacks.append(ModelCheckpoint(checkpoints, "{step}", every_n_train_steps=1, save_top_k=-1))
        plain = trainer(max_epochs, callbacks=callbacks, enable_checkpointing=bool(checkpoints))
        datamodule = StreamingPairedDataModule(stream, batch_size=4, num_workers=num_workers)
        plain.fit(FinetuneTask(**STUDENT), datamodule=datamodule, ckpt_path=resume, weights_only=True)
        return recorder.batches

    def test_the_face_model_can_be_trained_on_a_stream(self, recorded):
        plain = fit(TeacherTask(**FACE_MODEL | {"num_classes": 8}), StreamingPairedDataModule(recorded, batch_size=4))
        assert "teacher/val_uar" in plain.callback_metrics

    def test_a_live_teacher_must_not_be_trained_on_held_out_actors(self, tiny, tmp_path):
        settings = STUDENT | {"teacher_embedding_size": FACE_MODEL["embedding_size"]}
        knowing, fair = (self.teacher(tmp_path / f"{actor}.safetensors", [actor]) for actor in ("03", "01"))
        with pytest.raises(LeakageError, match="actors 03"):
            fit(TransferTask(**settings, teacher=knowing), StreamingPairedDataModule(tiny))
        plain = fit(TransferTask(**settings, teacher=fair), StreamingPairedDataModule(tiny, batch_size=8))
        assert "transfer/kd_loss" in plain.callback_metrics

    @pytest.mark.parametrize("num_workers", [0, 2])
    def test_a_resumed_run_trains_on_the_remaining_clips(self, tiny, tmp_path, num_workers):
        whole = self.train(tiny, 2, checkpoints=tmp_path, num_workers=num_workers)
        assert [(epoch, index) for epoch, index, _ in whole] == [
            (epoch, index) for epoch in (0, 1) for index in range(5)
        ]
        for step in (2, 5, 8):
            rest = self.train(tiny, 2, resume=tmp_path / f"step={step}.ckpt", num_workers=num_workers)
            assert rest == whole[step:]

    def test_a_run_resumes_with_a_moved_stream(self, tiny, tmp_path):
        whole = self.train(tiny, 2, checkpoints=tmp_path)
        moved = shutil.copytree(tiny, tmp_path / "moved")
        assert self.train(str(moved), 2, resume=tmp_path / "step=3.ckpt") == whole[3:]


@pytest.fixture(scope="module")
def notes(tiny, tmp_path_factory):
    """Return the notes of a training in one process and in two."""

    folders = {processes: tmp_path_factory.mktemp("notes") for processes in (1, 2)}
    command = [sys.executable, str(SCRIPT), tiny, str(folders[2]), "2", "4"]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[2]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    train(tiny, folders[1], processes=1, batch_size=4)
    return {
        processes: [json.loads((folder / f"rank_{rank}.json").read_text()) for rank in range(processes)]
        for processes, folder in folders.items()
    }


class TestTwoProcesses:
    """Two processes with DDP, compared with one."""

    def test_each_process_reads_its_own_part(self, notes):
        for split, count in (("train 0", 20), ("train 1", 20), ("val 0", 11), ("val 1", 11), ("test 2", 7)):
            parts = [together(one["clips"][split]) for one in notes[2]]
            assert all(parts)
            assert len(together(parts)) == len({*parts[0], *parts[1]}) == count
            assert len(together(notes[1][0]["clips"][split])) == count

    def test_both_processes_have_the_same_results(self, notes):
        one, other = notes[2]
        for name in ("mean", "class_weight", "weights", "metrics"):
            assert one[name] == other[name], name

    def test_statistics_equal_those_of_one_process(self, notes):
        for name in ("mean", "class_weight"):
            assert notes[2][0][name] == pytest.approx(notes[1][0][name], rel=1e-6)


class TestErrors:
    def test_a_missing_stream_is_an_error(self, tmp_path):
        with pytest.raises(CorpusNotFoundError, match="stream"):
            StreamingPairedDataModule(str(tmp_path)).setup()

    def test_a_corrupted_stream_is_an_error_before_training(self, tiny, tmp_path):
        stream = shutil.copytree(tiny, tmp_path / "stream")
        sorted((stream / "train").glob("*.bin"))[0].unlink()
        with pytest.raises(DataError, match="stream"):
            StreamingPairedDataModule(str(stream)).setup()

    def test_an_empty_batch_size_is_a_config_error(self, tiny):
        with pytest.raises(ConfigError, match="batch_size"):
            StreamingPairedDataModule(tiny, batch_size=0)

    def test_a_missing_extra_is_named(self, tiny, monkeypatch):
        monkeypatch.setitem(sys.modules, "litdata", None)
        with pytest.raises(MissingExtraError, match=r"pip install 'crossmodal\[stream\]'"):
            StreamingPairedDataModule(tiny).setup()
