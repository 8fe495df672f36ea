"""Reader of the files that W&B writes in offline mode."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import wandb
from wandb.proto.wandb_internal_pb2 import Record


@dataclass
class OfflineRun:
    """One ``run-*.wandb``."""

    run: Any = None  # the record of the run itself: ``run_id``, ``sweep_id``, ``project``, ``display_name``
    config: dict[str, Any] = field(default_factory=dict)  # what an agent sets is under its dotted name
    history: dict[str, list[Any]] = field(default_factory=dict)  # all logged values by name, in order
    artifacts: dict[str, dict[str, Path]] = field(default_factory=dict)  # files by type, with their local copies


def read_offline_run(path: Path) -> OfflineRun:
    wandb.teardown()  # offline, a run that is finished may not be written yet
    read = OfflineRun()
    for record in records(path.read_bytes()):
        config = record.config if record.HasField("config") else record.run.config
        for item in config.update:
            read.config[item.key or ".".join(item.nested_key)] = json.loads(item.value_json)
        for item in record.history.item:
            read.history.setdefault(item.key or "/".join(item.nested_key), []).append(json.loads(item.value_json))
        if record.HasField("run"):
            read.run = record.run
        if record.HasField("artifact"):
            entries = record.artifact.manifest.contents
            read.artifacts[record.artifact.type] = {entry.path: Path(entry.local_path) for entry in entries}
    return read


def records(content: bytes) -> Iterator[Record]:
    """LevelDB's log format behind a header of 7 bytes."""
    position, data = 7, b""
    while position + 7 <= len(content):
        if (room := 32768 - position % 32768) < 7:  # a block's end, too short for a piece
            position += room
            continue
        length, kind = int.from_bytes(content[position + 4 : position + 6], "little"), content[position + 6]
        data += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # a whole record, or its last piece
            yield Record.FromString(data)
            data = b""
