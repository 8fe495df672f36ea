"""What a face says, computed once and stored: embeddings of a frozen backbone, and the teacher's outputs."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import seed_everything
from torch import Tensor

from crossmodal.datamodules import RAVDESSDataModule, RAVDESSVideoDataModule
from crossmodal.datasets.clip_tensors import ClipTensors
from crossmodal.models import FaceBackbone, FaceClassifier
from crossmodal.models.handover import load_model
from crossmodal.pipeline.settings import Config
from crossmodal.pipeline.stage import StageResult
from crossmodal.progress import progress_bar
from crossmodal.storage import content_key, hash_file

VERSION = 1


def embed_faces(model: Config, datamodule: RAVDESSVideoDataModule, seed: int, device: torch.device) -> Path:
    """Run a frozen backbone over every face crop of the corpus, once.

    Args:
        model: The arguments of `TeacherTask`, all of them.
        datamodule: One that reads pixels, set up.
        seed: Of a backbone with random weights.
        device: Where to run it.

    Returns:
        The file of ``face_embeddings``, (clips, N, D), by clip.
    """
    weights = model["weights"]
    key = content_key(
        backbone={name: model[name] for name in ("backbone", "pretrained", "backbone_kwargs")},
        weights=hash_file(Path(weights)) if weights else (model["pretrained"] or seed),
        clips=datamodule.fingerprint["clips"],
        version=VERSION,
    )
    path = datamodule.cache / "face_embeddings" / f"{key}.safetensors"
    if not path.exists():
        seed_everything(seed, verbose=False)
        backbone = FaceBackbone(
            model["backbone"], model["pretrained"], weights, frozen=True, **(model["backbone_kwargs"] or {})
        )
        backbone.to(device).eval()
        source = str(model["backbone"])
        _store(path, datamodule, device, lambda batch: {"face_embeddings": backbone(batch["faces"])}, source=source)
    return path


def store_teacher_outputs(teacher: StageResult, datamodule: RAVDESSDataModule, device: torch.device) -> Path:
    """Ask the trained teacher about every clip, once; what it says is stored beside the actors it was trained on.

    Returns:
        The file of ``teacher_embedding``, (clips, E), and ``teacher_logits``, (clips, K), by clip.
    """
    path = datamodule.cache / "teacher_outputs" / f"{teacher.key}.safetensors"
    if not path.exists():
        model, about = load_model(FaceClassifier, teacher.model)
        model.to(device)

        def ask(batch: dict[str, Any]) -> dict[str, Tensor]:
            embedding = model.embed(batch["face_embeddings"] if "face_embeddings" in batch else batch["faces"])
            return {"teacher_embedding": embedding, "teacher_logits": model.classify(embedding)}

        _store(path, datamodule, device, ask, source="the teacher", train_actors=about["train_actors"])
    return path


@torch.no_grad()
def _store(
    path: Path,
    datamodule: RAVDESSDataModule,
    device: torch.device,
    say: Callable[[dict[str, Any]], dict[str, Tensor]],
    **about: Any,
) -> None:
    """Apply `say` to every clip of the datamodule and write the tensors by clip."""
    clips: list[str] = []
    said: list[dict[str, Tensor]] = []
    loader = datamodule.predict_dataloader()
    with progress_bar() as progress:
        batches: Iterable[dict[str, Any]] = progress.track(loader, description=f"Storing what {about['source']} says")
        for batch in batches:
            on_device = {
                name: value.to(device) if isinstance(value, Tensor) else value for name, value in batch.items()
            }
            said.append({name: value.float().cpu() for name, value in say(on_device).items()})
            clips += batch["clip"]
    tensors = {name: torch.cat([one[name] for one in said]).numpy() for name in said[0]}
    ClipTensors.save(path, clips, tensors, **about)
