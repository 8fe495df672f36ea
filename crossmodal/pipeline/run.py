"""`fit`: run the stages teacher, control, transfer and finetune in one resumable command."""

import contextlib
import shutil
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from crossmodal.datamodules import AudioDataModule, CorpusDataModule, PairedDataModule, VideoDataModule
from crossmodal.datasets.clip_tensors import ClipTensors
from crossmodal.errors import ConfigError
from crossmodal.evaluation.calibration import calibrate
from crossmodal.inference.model_folder import save_model_folder
from crossmodal.models.own_teacher import OwnTeacher
from crossmodal.own_code import trusting
from crossmodal.pipeline.arguments import ConfigLike, FitSettings, command_words
from crossmodal.pipeline.loggers import create_loggers, end_loggers, log_summary, silence_lightning
from crossmodal.pipeline.outlook import print_outlook
from crossmodal.pipeline.processes import Processes
from crossmodal.pipeline.rehearsal import rehearse
from crossmodal.pipeline.report import print_summary, write_report
from crossmodal.pipeline.run_folder import choose_folder, configuration_of, in_use, report_excluded
from crossmodal.pipeline.settings import STAGES, Config, merge, parse_settings, stage_config, stage_names
from crossmodal.pipeline.stage import StageRun
from crossmodal.pipeline.stage_result import StageResult
from crossmodal.pipeline.stored.face_embeddings import embed_faces
from crossmodal.pipeline.stored.speech_features import store_for_stages
from crossmodal.pipeline.stored.teacher_outputs import Member, groups_of_actors, store_teacher_outputs
from crossmodal.pipeline.summary import RunSummary, summarize
from crossmodal.pipeline.teaching import TeachingSettings, teacher_arguments
from crossmodal.pipeline.unlabelled import complete_for_unlabelled
from crossmodal.storage import content_key, disk_errors, write_json

if TYPE_CHECKING:
    from typing_extensions import Unpack

_CONTINUED = {"control": "supervised", "finetune": "transfer"}  # stages that start from the weights of another


@rank_zero_only
def print_on_rank_zero(line: str) -> None:
    """Print one line in the first process."""
    print(line, flush=True)


def fit(config: ConfigLike | Sequence[ConfigLike] = (), **settings: "Unpack[FitSettings]") -> RunSummary:
    """Run the stages and write ``runs/<name>/``; without data, with the built-in synthetic corpus.

    Args:
        config: A YAML file, the name of a shipped config, a nested dict, or a sequence of these; later ones override
            earlier ones.
        **settings: See `crossmodal.pipeline.FitSettings`; they override `config`.

    Returns:
        The summary of the run, which a notebook shows with tables and pictures.

    Raises:
        ConfigError: If a setting is invalid.
        DataError: If the recordings are missing or cannot fill the fold.
        FolderInUseError: If another run uses the folder.
        WeightsError: If pretrained weights are not available.

    Examples:
        >>> from crossmodal import fit
        >>> summary = fit("dense", fold=1, trainer={"max_epochs": 5})  # doctest: +SKIP
        >>> summary.gain, summary.interval, summary.model  # doctest: +SKIP
    """
    return Run(parse_settings(command_words(config, settings))).fit()


class Run:
    """A run of the stages on one fold; for its folder and `keep_name` see `run_folder.choose_folder`."""

    part = ""  # sub-folder for the files of the run

    def __init__(self, settings: Config, keep_name: bool = False) -> None:
        self.settings = settings = complete_for_unlabelled(settings)
        self.keep_name = keep_name
        if settings.get("fast_dev_run") and (keep_name or self.part):
            raise ConfigError("fast_dev_run is for `crossmodal fit` alone, because its results are removed.")
        self.folder = Path(settings["runs"]) / settings["name"]
        self.teaching = TeachingSettings(**settings.get("teaching", {}))
        self._own_teacher = OwnTeacher(self.teaching.teacher) if self.teaching.teacher else None
        self.stages = [one for one in stage_names(settings["stages"]) if one != "teacher" or not self._own_teacher]
        self.device = _device(settings["trainer"]["accelerator"])
        self.processes = Processes(settings["trainer"])
        # All stages use the same clips, those with audio and faces. The control alone needs no faces.
        self.corpus: CorpusDataModule = PairedDataModule(**settings["data"], seed=settings["seed_everything"])
        if self.stages == [*STAGES] and not self.corpus.has_faces(self.corpus.source):
            print_on_rank_zero("The corpus has no faces: a voice model is trained alone, as with --stages control.")
            self.stages = stage_names("control")
        if {*self.stages} <= {"supervised", "control"}:
            self.corpus = AudioDataModule(**settings["data"], seed=settings["seed_everything"])
        self.results: dict[str, StageResult] = {}
        self._loggers: list[Logger] = []
        self._speech_features: Path | None = None

    @trusting()  # of files that this run wrote
    def fit(self) -> RunSummary:
        """Run the requested stages, then write and print the report."""
        silence_lightning()
        with disk_errors(), self.processes.launch(), contextlib.ExitStack() as locks:
            if self.settings.get("fast_dev_run"):
                locks.callback(lambda: shutil.rmtree(self.folder, ignore_errors=True))
            self.processes.run_on_rank_zero(lambda: locks.enter_context(in_use(self.folder)))
            if self.corpus.source.is_built_in:
                print_on_rank_zero("No --data.root: using the built-in synthetic corpus (not evidence about people).")
            elif not {"front_end", "encoder"} & self.settings["transfer"].get("model", {}).keys():
                print_on_rank_zero("The default student is that of the thesis; --config whisper is far more accurate.")
            needed = {*self.stages, *(name for stage in self.stages for name in self._dependencies(stage))}
            rehearse(self.settings, needed, self.corpus)
            self.processes.run_on_rank_zero(self.corpus.prepare_data)
            self.corpus.setup("fit")
            unlabelled = self._keep_labelled_actors()
            self._choose_folder(locks)
            self._speech_features = self.processes.run_on_rank_zero(lambda: self._prepare(needed))
            if not unlabelled and {"teacher", "control", "transfer"} <= needed and not self.keep_name:  # not in a study
                student, teacher = (self.prepare_stage(stage) for stage in ("supervised", "teacher"))
                self.processes.run_on_rank_zero(lambda: print_outlook(student, teacher, self.device))
            for stage in (stage for stage in STAGES if stage in needed):
                self._run_stage(stage)
            return self.processes.run_on_rank_zero(self.finalize)

    def _keep_labelled_actors(self) -> int:
        """Fix the drawn actors for all stages, some of which have other seeds; count the unlabelled clips."""
        training = self.corpus.split["train"]
        names = sorted({clip.actor for clip in training if clip.label is not None})
        if (unlabelled := sum(clip.label is None for clip in training)) and "transfer" in self.stages:
            teacher = {"face": "the face model teaches", "voice": "a voice model teaches"}.get(self.teaching.by)
            print_on_rank_zero(
                f"{unlabelled} of {len(training)} training clips have no label: "
                f"{teacher or 'face and voice models teach'} the student what they show."
            )
        if self.corpus.labelled_actors:
            self.settings = merge(self.settings, {"data": {"labelled_actors": names}})
        return unlabelled

    def _choose_folder(self, locks: contextlib.ExitStack) -> None:
        configuration = configuration_of(self.settings, self.teaching, self.corpus)
        base, keep, resume = self.folder, self.keep_name, self.settings.get("resume", False)
        chosen = self.processes.run_on_rank_zero(lambda: choose_folder(base, configuration, locks, keep, resume))
        name = Path(self.settings["name"] + str(chosen).removeprefix(str(base)), self.part)
        self.settings, self.folder = self.settings | {"name": str(name)}, chosen / self.part

    def _prepare(self, stages: Collection[str]) -> Path | None:
        report_excluded(self.folder, self.corpus.excluded)
        wanted = self.settings["trainer"].get("logger")
        self._loggers = create_loggers(wanted, self.folder, self.settings, self.stages[-1])
        return store_for_stages(self.settings, stages, self.corpus, self.device)

    def _run_stage(self, stage: str) -> None:
        run = self.prepare_stage(stage)
        if stage not in self.stages and not run.is_stored(self._store):
            raise ConfigError(
                f"The stages {', '.join(self.stages)} need {stage}, which was not run with these settings. Pass "
                f"--stages {stage},{','.join(self.stages)}."
            )
        result = self.results[stage] = run.run(self._store, self._loggers)
        print_on_rank_zero(f"{stage}: {_describe(result)}")

    def _dependencies(self, stage: str) -> list[str]:
        """Return the stages that a stage depends on; a voice teacher is trained separately from the control."""
        teacher = ["teacher"] if "teacher" in self.teaching.stages else []
        needed = {"control": ["supervised"], "transfer": teacher, "finetune": [*teacher, "transfer"]}
        return needed.get(stage, [])

    def _store_teacher_outputs(self) -> Path:
        """Train the teachers beyond the stage ``teacher``, and store the outputs of all teachers."""
        members: list[Member] = [Member("own", self._own_teacher)] if self._own_teacher else []
        datamodules: dict[str, CorpusDataModule] = {"own": self._faces()} if members else {}
        labelled = (clip.actor for clip in self.corpus.split["train"] if clip.label is not None)
        groups = groups_of_actors(labelled, self.teaching.cross_fit)
        for stage in () if members else self.teaching.stages:
            for left_out in [frozenset[str](), *groups]:
                run, result = self._train_member(stage, left_out)
                datamodules.setdefault(stage, run.datamodule)
                members.append(Member(stage, result, left_out))
        return self.processes.run_on_rank_zero(
            lambda: store_teacher_outputs(self.teaching, members, datamodules, self.device)
        )

    def _train_member(self, stage: str, left_out: frozenset[str]) -> tuple[StageRun, StageResult]:
        """Train one teacher, or return the stage ``teacher`` if it is the same."""
        # With the student's seed, a voice teacher would start from the same weights and see the same batches.
        seed = self.settings["seed_everything"] + 1000 * (stage == "supervised")
        group = [content_key(left_out=sorted(left_out))[:8]] if left_out else []  # names may be long or contain folders
        name = "_".join([stage, *group])
        run = self.prepare_stage(stage, self.folder / "teachers" / name, seed, left_out)
        if stage == "teacher" and not left_out:
            return run, self.results["teacher"]
        result = run.run(self._store, [])
        excluded = f" without actors {', '.join(sorted(left_out))}" if left_out else ""
        print_on_rank_zero(f"a {'voice' if stage == 'supervised' else 'face'} teacher{excluded}: {_describe(result)}")
        return run, result

    def prepare_stage(
        self, stage: str, folder: Path | None = None, seed: int | None = None, left_out: Collection[str] = ()
    ) -> StageRun:
        """Build a stage, with the arguments that come from the stages before it."""
        model: Config = {"num_classes": self.corpus.num_classes}
        data: Config = {}
        if stage != "teacher" and self._speech_features:
            data["speech_features"] = str(self._speech_features)
        upstream: list[str] = []
        if stage == "teacher":
            self._fill_in_teacher(model, data)
        elif stage == "transfer":
            self._fill_in_transfer(model, data)
        elif stage in _CONTINUED:
            start = self.results[_CONTINUED[stage]]
            model["weights"], upstream = str(start.model), [start.key]
        settings = self.settings if seed is None else {**self.settings, "seed_everything": seed}
        config = stage_config(settings, stage, model=model, data=data)
        clips = [clip.clip for clip in self.corpus.clips]
        return StageRun(stage, config, clips, folder or self.folder / stage, upstream, left_out, self.processes)

    def _fill_in_transfer(self, model: Config, data: Config) -> None:
        """Set the stored teacher outputs and the width of their embeddings."""
        outputs = self._store_teacher_outputs()
        if shape := ClipTensors(outputs).shapes.get("teacher_embedding"):
            model["teacher_embedding_size"] = shape[-1]
        data["teacher_outputs"] = str(outputs)

    def _fill_in_teacher(self, model: Config, data: Config) -> None:
        """Set the teacher's input: pixels, stored embeddings of a frozen backbone, or face features."""
        arguments = teacher_arguments(self.settings)
        size = self.corpus.face_embedding_size
        if arguments["encoder"] is not None:
            model["backbone"] = None
        elif size is None and arguments["freeze_backbone"]:
            path = self.processes.run_on_rank_zero(lambda: self._embed_faces(arguments))
            data["face_embeddings"] = str(path)
            size = ClipTensors(path).shapes["face_embeddings"][-1]
        if size is not None:
            model |= {"backbone": None, "in_features": size}
        elif self.corpus.face_normalization:
            raise ConfigError(
                "face_normalization needs face features or a frozen backbone, but this teacher is trained on pixels. "
                "Remove it, or pass --teacher.model.freeze_backbone true."
            )

    def _embed_faces(self, model: Config) -> Path:
        """Store the face embeddings of a frozen backbone."""
        return embed_faces(model, self._faces(), self.settings["seed_everything"], self.device)

    def _faces(self) -> VideoDataModule:
        """Return the faces, or face features, of the clips of the run."""
        faces = VideoDataModule(**self.settings["data"])
        used = {clip.clip for clip in self.corpus.clips}
        faces.restrict(lambda clip: clip.clip in used)
        faces.setup()
        return faces

    def finalize(self) -> RunSummary:
        """Write the model folders, summary.json and report.md, and print the summary."""
        summary = summarize(self.settings, self.corpus, self.results, self.folder)
        weights = (self.settings["transfer"].get("model", {}).get("front_end_kwargs") or {}).get("weights")
        for stage, name in {"control": "control_model", "finetune": "model"}.items():
            if result := self.results.get(stage):
                summary = replace(summary, calibration=calibrate(result.predictions.of("val")))
                folder = save_model_folder(result.model, self.folder / name, summary.to_dict(), weights, stage)
                summary = replace(summary, **{name: str(folder)})  # type: ignore[arg-type]
        write_json(self.folder / "summary.json", summary.to_dict())
        write_report(self.folder, summary)
        if self.settings.get("fast_dev_run"):
            print("fast_dev_run: all stages run with these settings. Nothing was measured, and no results are kept.")
            return summary
        log_summary(self._loggers, summary.to_dict(), self.folder)
        end_loggers(self._loggers)
        print_summary(self.folder, summary)
        return summary

    @property
    def _store(self) -> Path:
        return (self.folder if self.settings.get("fast_dev_run") else self.corpus.cache_folder) / "stages"


def _describe(result: StageResult) -> str:
    training = "reused" if result.reused else f"{result.epochs} epochs in {result.seconds:.0f} s"
    return f"{training}; UAR {result.metrics['val']['uar']:.3f} on validation"


def _device(accelerator: str) -> torch.device:
    """Return the device of the pipeline's own passes over the corpus, the same as for training."""
    gpu = accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return torch.device("cuda" if gpu else "cpu")
