"""Decode a whole corpus into the cache, and write it as a stream."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from crossmodal.datasets.cache import FaceCrops, PreparedCorpus, prepare_corpus
from crossmodal.datasets.ravdess import Channel
from crossmodal.datasets.source import ManifestSource, RavdessSource
from crossmodal.datasets.splits.protocols import LABEL_SET_OF_CHANNEL
from crossmodal.datasets.stream.writer import check_target, write_stream
from crossmodal.errors import ConfigError
from crossmodal.media import Box, VideoDecoder

Item = TypeVar("Item")


def prepare(
    root: str | Path | None = None,
    *,
    manifest: str | Path | None = None,
    allow_outside_paths: bool = False,
    channel: Channel = "both",
    num_video_frames: int = 8,
    face_size: int = 224,
    face_box: Box | None = None,
    face_detector: str | None = None,
    video_decoder: VideoDecoder = "pyav",
    shard: str | None = None,
    num_processes: int | None = None,
    cache: str | Path | None = None,
    stream: str | None = None,
) -> PreparedCorpus:
    """Decode a corpus into the cache, and optionally write it as a stream; `crossmodal.fit` decodes what is missing.

    A script that calls this needs ``if __name__ == "__main__":``. Damaged files are excluded.

    `root` is the folder of the extracted RAVDESS files, `manifest` the table of another corpus, `shard` a part ``i/n``
    of the clips, i from 1 to n, and `stream` the new folder or URL of a litdata stream of all clips with sound and
    faces (extra ``stream``). `num_processes` is by default one per core. The others are described at
    `crossmodal.datamodules.settings.CorpusSettings` and `FaceSettings`.

    Returns:
        The arrays by clip, and the files that were excluded.

    Raises:
        ConfigError: If an argument is invalid.
        DataError: If the corpus is missing or has no usable clip.

    Examples:
        >>> from crossmodal import prepare
        >>> corpus = prepare("ravdess", num_processes=2)  # doctest: +SKIP
        >>> len(corpus.waveforms), corpus.excluded  # doctest: +SKIP
    """
    if num_video_frames < 1 or face_size < 8:
        raise ConfigError("num_video_frames must be at least 1 and face_size at least 8.")
    source = _source(root, manifest, allow_outside_paths, channel)
    if stream:
        _check_stream(stream, shard)
    clips, unusable = source.index()
    if shard:
        clips = take_shard(clips, shard)
    crops = FaceCrops(num_video_frames, face_size, face_box or source.face_box, face_detector, video_decoder)
    folder = Path(cache) if cache else None
    corpus = prepare_corpus(clips, crops=crops, folder=folder, num_processes=num_processes, retry=True)
    if stream:
        write_stream(source, corpus, crops, stream, num_processes)
    return replace(corpus, unusable=unusable)


def take_shard(items: Sequence[Item], shard: str) -> list[Item]:
    """Take the part ``i/n`` of items: every n-th, from the i-th on; raise ConfigError for another form."""
    match = re.fullmatch(r"(\d+)/(\d+)", shard)
    part, parts = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= part <= parts:
        raise ConfigError(f"shard {shard}: give i/n with i from 1 to n, such as 3/100 for the third of 100 parts.")
    return list(items[part - 1 :: parts])


def _source(
    root: str | Path | None, manifest: str | Path | None, allow_outside_paths: bool, channel: Channel
) -> RavdessSource | ManifestSource:
    if manifest and not root:
        return ManifestSource(Path(manifest), allow_outside_paths)
    if root and not manifest:
        return RavdessSource(Path(root), channel, LABEL_SET_OF_CHANNEL[channel])
    raise ConfigError("Give either the folder of the extracted RAVDESS files or a manifest: --manifest FILE.")


def _check_stream(target: str, shard: str | None) -> None:
    """Check the arguments of a stream before decoding."""
    if shard:
        raise ConfigError(
            "A stream needs all clips, but shard selects a part of them. Prepare the shards first; then run the same "
            "command with --to and without --shard, which reuses the decoded clips."
        )
    check_target(target)
