"""Rehearsal of a run: its stages are built before anything is decoded."""

from collections.abc import Collection

from lightning.pytorch import Trainer

from crossmodal.datamodules import CorpusDataModule
from crossmodal.errors import WeightsError
from crossmodal.models import PretrainedFrontEnd
from crossmodal.pipeline.checks import invalid_settings
from crossmodal.pipeline.settings import STAGES, Config, merge, stage_config
from crossmodal.pipeline.stage_key import stage_parser
from crossmodal.tasks import FinetuneTask


def rehearse(settings: Config, stages: Collection[str], corpus: CorpusDataModule) -> None:
    """Build the model and the Trainer of each stage, to find invalid settings and missing weights.

    Raises:
        ConfigError: If a setting is invalid.
        DataError: If the folder or table of the corpus is missing.
        WeightsError: If pretrained weights are not available, unless face embeddings are stored.
    """
    if not corpus.source.is_built_in:
        corpus.source.index()  # a missing folder or table is reported first
    without = set() if corpus.has_faces(corpus.source) else {"teacher"}  # reported when the corpus is prepared
    for stage in (stage for stage in STAGES if stage in {*stages} - without):
        has_features = stage == "teacher" and (corpus.face_features or corpus.face_embeddings)
        model = {"backbone": None, "in_features": 1} if has_features else {}
        config = merge(stage_config(settings, stage, model=model), {"trainer": {"logger": False}})
        with invalid_settings(f"the stage {stage}"):
            arguments = stage_parser(stage).parse_object(config)
            task_arguments = arguments.pop("model").as_dict()
            Trainer(**stage_parser(stage, has_model=False).instantiate(arguments).trainer.as_dict())
            try:
                task = STAGES[stage].task(**task_arguments)
                if isinstance(task, FinetuneTask) and isinstance(task.model.front_end, PretrainedFrontEnd):
                    task.model.front_end.source.weights_file()
            except WeightsError:
                if stage != "teacher" or not any((corpus.cache_folder / "face_embeddings").glob("*.safetensors")):
                    raise
