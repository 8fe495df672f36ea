"""`fit`: teacher, control, transfer, finetune, in one command that can be stopped and goes on where it was."""

import inspect
import logging
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from numpy.typing import NDArray

from crossmodal.datamodules import AudioDataModule, CorpusDataModule, PairedDataModule, VideoDataModule
from crossmodal.datasets.clip_tensors import ClipTensors
from crossmodal.errors import ConfigError
from crossmodal.evaluation.calibration import calibrate
from crossmodal.evaluation.report import print_summary, write_report
from crossmodal.inference.model_folder import save_model_folder
from crossmodal.models import FaceClassifier
from crossmodal.models.handover import load_model
from crossmodal.pipeline.loggers import create_loggers, end_loggers, log_summary, run_name
from crossmodal.pipeline.processes import Processes
from crossmodal.pipeline.settings import STAGES, Config, parse_settings, stage_config
from crossmodal.pipeline.stage import StageRun
from crossmodal.pipeline.stage_result import StageResult
from crossmodal.pipeline.stored.face_embeddings import embed_faces
from crossmodal.pipeline.stored.modality_general import sound_statistics
from crossmodal.pipeline.stored.speech_features import store_for_stages
from crossmodal.pipeline.stored.teacher_outputs import Member, groups_of_actors, store_teacher_outputs
from crossmodal.pipeline.summary import summarize
from crossmodal.pipeline.teaching import TeachingSettings
from crossmodal.storage import disk_errors, write_json
from crossmodal.tasks import FinetuneTask, TeacherTask


@rank_zero_only
def tell(line: str) -> None:
    """Say one line to the person who waits."""
    print(line, flush=True)


def fit(args: Sequence[str] = ()) -> dict[str, Any]:
    """Run the stages and write ``runs/<name>/``.

    Args:
        args: A command line, e.g. ``["--config", "configs/ravdess_action_units.yaml", "--data.fold", "1"]``.

    Returns:
        The summary, as in ``summary.json``.

    Raises:
        ConfigError: A setting that cannot be.
        DataError: The recordings are not there, or cannot fill the fold.
        WeightsError: Pretrained weights that cannot be had.
    """
    return Run(parse_settings(args)).fit()


def fit_command(args: Sequence[str]) -> int:
    """`crossmodal fit`."""
    silence_lightning()
    settings = parse_settings(args)
    Run({**settings, "name": run_name(settings["name"])}).fit()
    return 0


class Run:
    """One run of the stages over one fold.

    Args:
        settings: See `crossmodal.pipeline.settings.parse_settings`.
    """

    def __init__(self, settings: Config) -> None:
        self.settings = settings
        self.folder = Path(settings["runs"]) / settings["name"]
        self.stages = _stage_names(settings["stages"])
        self.teaching = TeachingSettings(**settings.get("teaching", {}))
        self.device = _device(settings["trainer"]["accelerator"])
        self.processes = Processes(settings["trainer"])
        # What the teaching is about, clips with sound and face: every stage uses these and no others. Where only the
        # control is asked for, a voice model on its own, no face is needed.
        corpus = AudioDataModule if self.stages == ["control"] else PairedDataModule
        self.corpus: CorpusDataModule = corpus(**settings["data"], seed=settings["seed_everything"])
        self.results: dict[str, StageResult] = {}
        self._loggers: list[Logger] = []
        self._speech_features: Path | None = None

    def fit(self) -> dict[str, Any]:
        """Run what was asked for, write the report, and print it."""
        with disk_errors(), self.processes.together():
            return self._fit()

    def _fit(self) -> dict[str, Any]:
        if self.corpus.source.is_built_in:
            tell("No --data.root given: using the built-in synthetic corpus (it is no evidence about people).")
        self.processes.first_says(self.corpus.prepare_data)
        self.corpus.setup()
        needed = {*self.stages, *(need for stage in self.stages for need in self._needs(stage))}
        self._speech_features = self.processes.first_says(lambda: self._open(needed))
        for stage in STAGES:
            if stage in needed:
                self._run_stage(stage)
        return self.processes.first_says(self.conclude)

    def _open(self, stages: Collection[str]) -> Path | None:
        """What comes before the stages: what was set aside, the loggers, and what a frozen network hears."""
        self._tell_set_aside()
        wanted = self.settings["trainer"].get("logger")
        self._loggers = create_loggers(wanted, self.folder, self.settings, self.stages[-1])
        return store_for_stages(self.settings, stages, self.corpus, self.device)

    def _run_stage(self, stage: str) -> None:
        run = self.prepare_stage(stage)
        if stage not in self.stages and not run.is_stored(self._store):
            raise ConfigError(
                f"The stages {', '.join(self.stages)} stand on {stage}, which was not run with these settings: "
                f"--stages {stage},{','.join(self.stages)}."
            )
        result = run.run(self._store, self._loggers)
        self.results[stage] = result
        tell(f"{stage}: {_how(result)}")

    def _needs(self, stage: str) -> list[str]:
        """What a stage stands on; of the control only its settings, for a voice teacher is trained anew."""
        taught = ["teacher"] if "teacher" in self.teaching.stages else []
        return {"transfer": taught, "finetune": [*taught, "transfer"]}.get(stage, [])

    def _ask_teachers(self) -> Path:
        """Train what teachers there are to be beside the stage of that name, and store what all of them say."""
        members: list[Member] = []
        datamodules: dict[str, CorpusDataModule] = {}
        groups = groups_of_actors((clip.actor for clip in self.corpus.split["train"]), self.teaching.cross_fit)
        for stage in self.teaching.stages:
            wanted = [(frozenset[str](), number) for number in range(1 if groups else self.teaching.num_teachers)]
            wanted += [(group, number) for group in groups for number in range(self.teaching.num_teachers)]
            for left_out, number in wanted:
                run, result = self._train_member(stage, left_out, number)
                datamodules.setdefault(stage, run.datamodule)
                members.append(Member(stage, result, left_out))

        def ask() -> Path:
            sound = self._sound() if self.teaching.general_share < 1 else None
            return store_teacher_outputs(self.teaching, members, datamodules, self.device, sound)

        return self.processes.first_says(ask)

    def _sound(self) -> NDArray[np.float64]:
        """What the student's front end says of the training clips."""
        listening = self.prepare_stage("control", self.folder / "teachers" / "sound")
        assert isinstance(listening.task, FinetuneTask), "the control is a student"
        return sound_statistics(listening.task.model, listening.datamodule, self.corpus.split["train"], self.device)

    def _train_member(self, stage: str, left_out: frozenset[str], number: int) -> tuple[StageRun, StageResult]:
        """One teacher, or the stage of that name where it is the same."""
        # A voice teacher with the student's own seed would start where the student starts, and see the same batches.
        seed = self.settings["seed_everything"] + 1000 * (number + (stage == "control"))
        name = "_".join([stage, *sorted(left_out), str(number)])
        run = self.prepare_stage(stage, self.folder / "teachers" / name, seed, left_out)
        if stage == "teacher" and not left_out and number == 0:
            return run, self.results["teacher"]
        result = run.run(self._store, [])
        whom = f" without actors {', '.join(sorted(left_out))}" if left_out else ""
        tell(f"a {'voice' if stage == 'control' else 'face'} teacher{whom}: {_how(result)}")
        return run, result

    def prepare_stage(
        self, stage: str, folder: Path | None = None, seed: int | None = None, left_out: Collection[str] = ()
    ) -> StageRun:
        """Fill in what the stages before it have to say."""
        model: Config = {"num_classes": self.corpus.num_classes}
        data: Config = {}
        if stage != "teacher" and self._speech_features:
            data["speech_features"] = str(self._speech_features)
        upstream: list[str] = []
        if stage == "teacher":
            self._fill_in_teacher(model, data)
        elif stage == "transfer":
            upstream = self._fill_in_transfer(model, data)
        elif stage == "finetune":
            model["weights"] = str(self.results["transfer"].model)
            upstream = [self.results["transfer"].key]
        settings = self.settings if seed is None else {**self.settings, "seed_everything": seed}
        config = stage_config(settings, stage, model=model, data=data)
        clips = [clip.clip for clip in self.corpus.clips]
        return StageRun(stage, config, clips, folder or self.folder / stage, upstream, left_out, self.processes)

    def _fill_in_transfer(self, model: Config, data: Config) -> list[str]:
        """Decide what teaches: stored answers, or the teacher itself, whose key is then returned."""
        if self.teaching.live:
            teacher = self.results["teacher"]
            face, _ = load_model(FaceClassifier, teacher.model)
            model |= {"teacher": str(teacher.model)}
            model |= {"teacher_embedding_size": face.encoder.out_features}
            model |= {"teacher_features_size": face.encoder.in_features}
            self._fill_in_teacher({}, data)
            return [teacher.key]
        outputs = self._ask_teachers()
        shapes = ClipTensors(outputs).shapes
        model |= {f"teacher_{name}_size": shapes[f"teacher_{name}"][-1] for name in ("embedding", "features")}
        data["teacher_outputs"] = str(outputs)
        return []

    def _fill_in_teacher(self, model: Config, data: Config) -> None:
        """Decide what the teacher looks at: pixels, stored embeddings of a frozen backbone, or face features."""
        asked = _defaults(TeacherTask) | self.settings["teacher"].get("model", {})
        size = self.corpus.face_embedding_size
        if size is None and asked["freeze_backbone"]:
            if asked["backbone"] is None:
                raise ConfigError("The teacher needs a backbone for pixels, or --data.face_features in their place.")
            path = self.processes.first_says(lambda: self._embed_faces(asked))
            data["face_embeddings"] = str(path)
            size = ClipTensors(path).shapes["face_embeddings"][-1]
        elif size is None and self.corpus.face_normalization:
            raise ConfigError(
                "face_normalization is for face features and for a frozen backbone's embeddings; this teacher trains "
                "its backbone on pixels: leave it out, or --teacher.model.freeze_backbone true."
            )
        if size is not None:
            model |= {"backbone": None, "in_features": size}

    def _embed_faces(self, model: Config) -> Path:
        """Store what a frozen backbone says of the faces."""
        pixels = VideoDataModule(**self.settings["data"])
        used = {clip.clip for clip in self.corpus.clips}
        pixels.restrict(lambda clip: clip.clip in used)
        pixels.setup()
        return embed_faces(model, pixels, self.settings["seed_everything"], self.device)

    def conclude(self) -> dict[str, Any]:
        """The model folders, summary.json, report.md and the last words on the screen."""
        summary = summarize(self.settings, self.corpus, self.results)
        weights = (self.settings["transfer"].get("model", {}).get("front_end_kwargs") or {}).get("weights")
        for stage, name in {"control": "control_model", "finetune": "model"}.items():
            if stage in self.results:
                result = self.results[stage]
                summary["calibration"] = calibrate(result.predictions.of("val"))
                summary[name] = str(save_model_folder(result.model, self.folder / name, summary, weights, stage))
        write_json(self.folder / "summary.json", summary)
        write_report(self.folder, summary)
        log_summary(self._loggers, summary, self.folder)
        end_loggers(self._loggers)
        print_summary(self.folder, summary)
        return summary

    def _tell_set_aside(self) -> None:
        aside = [{"what": aside.what, "reason": aside.reason} for aside in self.corpus.set_aside]
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / "set_aside.json", aside)
        if aside:
            tell(f"{len(aside)} file(s) or clip(s) set aside, listed in {self.folder / 'set_aside.json'}:")
        for one in aside[:5]:
            tell(f"  {one['what']}: {one['reason']}")

    @property
    def _store(self) -> Path:
        return self.corpus.cache / "stages"


def _how(result: StageResult) -> str:
    how = "reused" if result.reused else f"{result.epochs} epochs in {result.seconds:.0f} s"
    return f"{how}; UAR {result.metrics['val']['uar']:.3f} on validation"


def silence_lightning() -> None:
    """Leave out what four Trainers would say four times over, and what does not concern who typed the command."""
    for name in ("pytorch.utilities.rank_zero", "fabric.utilities.seed", "fabric.utilities.distributed"):
        logging.getLogger(f"lightning.{name}").setLevel(logging.WARNING)
    for message in (
        "LightningCLI's args parameter",  # it is given a stage's settings, and the command line is the whole run's
        ".*does not have many workers.*",  # reading from the cache costs less than a worker does
        ".*The number of training batches.*",  # nothing is logged by step
        ".*treespec, LeafSpec.*",  # Lightning's own use of torch
        ".*functional.all_gather is deprecated.*",  # the same
        ".*Checkpoint directory.*exists and is not empty.*",  # that is how a run goes on
        ".*resuming from a checkpoint that ended before the epoch ended.*",  # the datamodule sees to it
    ):
        warnings.filterwarnings("ignore", message)


def _stage_names(stages: str) -> list[str]:
    names = [name.strip() for name in stages.split(",") if name.strip()]
    if unknown := [name for name in names if name not in STAGES]:
        raise ConfigError(f"There is no stage {unknown[0]!r}: choose of {', '.join(STAGES)}.")
    if not names:
        raise ConfigError(f"--stages names no stage: choose of {', '.join(STAGES)}.")
    return [name for name in STAGES if name in names]


def _defaults(task: type) -> Config:
    return {name: parameter.default for name, parameter in inspect.signature(task).parameters.items()}


def _device(accelerator: str) -> torch.device:
    """Where the pipeline's own passes over the corpus run: where training runs."""
    gpu = accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return torch.device("cuda" if gpu else "cpu")
