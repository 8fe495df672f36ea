"""Corpora: indexing, preparation, splits, and features of clips."""

from crossmodal.datasets.cache import FaceCrops as FaceCrops
from crossmodal.datasets.cache import PreparedCorpus as PreparedCorpus
from crossmodal.datasets.cache import prepare_corpus as prepare_corpus
from crossmodal.datasets.clip import Clip as Clip
from crossmodal.datasets.clip import ExcludedClip as ExcludedClip
from crossmodal.datasets.clip_tensors import ClipTensors as ClipTensors
from crossmodal.datasets.faces.features import store_face_features as store_face_features
from crossmodal.datasets.manifest import ManifestIndex as ManifestIndex
from crossmodal.datasets.manifest import index_manifest as index_manifest
from crossmodal.datasets.preparation import prepare as prepare
from crossmodal.datasets.ravdess import index_ravdess as index_ravdess
from crossmodal.datasets.ravdess import parse_name as parse_name
from crossmodal.datasets.source import CorpusSource as CorpusSource
from crossmodal.datasets.splits.protocols import LABEL_SETS as LABEL_SETS
from crossmodal.datasets.splits.protocols import PROTOCOLS as PROTOCOLS
from crossmodal.datasets.splits.protocols import filled_folds as filled_folds
from crossmodal.datasets.splits.protocols import split_clips as split_clips
from crossmodal.datasets.splits.speaker_folds import group_speakers as group_speakers
from crossmodal.storage import cache_dir as cache_dir
from crossmodal.storage import content_key as content_key
