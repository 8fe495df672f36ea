"""Corpora: indexing, preparation, splits, and features of clips."""

from crossmodal.datasets.cache import FaceCrops, PreparedCorpus, prepare_corpus
from crossmodal.datasets.clip import Clip, ExcludedClip
from crossmodal.datasets.clip_tensors import ClipTensors
from crossmodal.datasets.faces.features import store_face_features
from crossmodal.datasets.manifest import ManifestIndex, index_manifest
from crossmodal.datasets.preparation import prepare
from crossmodal.datasets.ravdess import index_ravdess, parse_name
from crossmodal.datasets.source import CorpusSource
from crossmodal.datasets.splits.protocols import LABEL_SETS, PROTOCOLS, filled_folds, split_clips
from crossmodal.datasets.splits.speaker_folds import group_speakers
from crossmodal.storage import cache_dir, content_key

__all__ = (
    "LABEL_SETS",
    "PROTOCOLS",
    "Clip",
    "ClipTensors",
    "CorpusSource",
    "ExcludedClip",
    "FaceCrops",
    "ManifestIndex",
    "PreparedCorpus",
    "cache_dir",
    "content_key",
    "filled_folds",
    "group_speakers",
    "index_manifest",
    "index_ravdess",
    "parse_name",
    "prepare",
    "prepare_corpus",
    "split_clips",
    "store_face_features",
)
