"""Face embeddings of a frozen backbone, computed once for each clip and stored."""

from pathlib import Path

import torch
from lightning.pytorch import seed_everything
from torch import Tensor

from crossmodal.datamodules import VideoDataModule
from crossmodal.datasets.clip_tensors import ClipTensors
from crossmodal.models import FaceBackbone
from crossmodal.pipeline.settings import Config
from crossmodal.progress import progress_bar
from crossmodal.storage import content_key, hash_file

# Raise when the same faces and backbone would give other embeddings.
VERSION = 1


def embed_faces(model: Config, datamodule: VideoDataModule, seed: int, device: torch.device) -> Path:
    """Run a frozen backbone over all face crops once, and return the file of ``face_embeddings``, (clips, N, D).

    `model` has all arguments of `TeacherTask`, the datamodule is set up, and the seed is for random weights.
    """
    weights = model["weights"]
    key = content_key(
        backbone={name: model[name] for name in ("backbone", "pretrained", "backbone_kwargs")},
        weights=hash_file(Path(weights)) if weights else (model["pretrained"] or seed),
        clips=datamodule.fingerprint["clips"],
        version=VERSION,
    )
    path = datamodule.cache_folder / "face_embeddings" / f"{key}.safetensors"
    with ClipTensors.missing(path, "face embeddings") as missing:
        if missing:
            seed_everything(seed, verbose=False)
            backbone = FaceBackbone(
                model["backbone"], model["pretrained"], weights, frozen=True, **(model["backbone_kwargs"] or {})
            )
            backbone.to(device).eval()
            clips: list[str] = []
            embeddings: list[Tensor] = []
            with progress_bar() as progress, torch.no_grad():
                loader = datamodule.loader(datamodule.clips)
                for batch in progress.track(loader, description=f"Face embeddings, {model['backbone']}"):
                    embeddings.append(backbone(batch["faces"].to(device)).float().cpu())
                    clips += batch["clip"]
            tensors = {"face_embeddings": torch.cat(embeddings).numpy()}
            ClipTensors.save(path, clips, tensors, source=str(model["backbone"]))
    return path
