"""The processes of a run, one per device: all run the same code, and parts of it run on rank zero only."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, cast

import torch.distributed as dist
from lightning.fabric import Fabric
from lightning.fabric.accelerators import CPUAccelerator
from lightning.fabric.utilities.exceptions import MisconfigurationException

from crossmodal.errors import ConfigError, ProcessLostError
from crossmodal.stopping import Terminated

T = TypeVar("T")


class Processes:
    """Processes that share a run, one per device of the Trainer arguments.

    Lightning would launch them in the first ``Trainer.fit``, after work that only one process may do. They are
    launched before everything else instead, and every Trainer uses them.
    """

    def __init__(self, trainer: Mapping[str, Any]) -> None:
        strategy = trainer.get("strategy", "auto")
        if isinstance(strategy, str) and strategy.endswith(("spawn", "fork", "notebook")):
            raise ConfigError(f"The strategy {strategy} starts new processes for each stage: use ddp.")
        devices = {name: trainer[name] for name in ("accelerator", "devices", "num_nodes") if name in trainer}
        try:
            self._fabric = Fabric(**devices)
        except (MemoryError, MisconfigurationException, RuntimeError, TypeError, ValueError) as error:
            requested = ", ".join(f"{name} {value}" for name, value in devices.items())
            raise ConfigError(f"The devices ({requested}) are not available: {error}") from error
        if isinstance(self._fabric.accelerator, CPUAccelerator) and self.number > 4 * (os.cpu_count() or 1):
            raise ConfigError(f"trainer.devices requests {self.number} processes for {os.cpu_count()} cores.")

    @contextlib.contextmanager
    def launch(self) -> Iterator[None]:
        """Launch the processes, unless ``torchrun`` or a cluster did, and run the block in all of them."""
        if self.number == 1:
            yield
            return
        self._fabric.launch()
        try:
            yield
        except (KeyboardInterrupt, Terminated):
            self._end_others()
            raise
        except RuntimeError as error:
            if not (isinstance(error, dist.DistError) or "gloo" in str(error)):
                raise
            raise ProcessLostError(
                f"Process {self._fabric.global_rank} of {self.number} lost the connection to another process; see the "
                "output of that process. Rerun the same command to resume."
            ) from error
        finally:
            dist.destroy_process_group()  # at interpreter exit its threads could abort the process

    def _end_others(self) -> None:
        """Kill the processes that this one has launched; they write no files, so nothing is lost."""
        processes = getattr(self._fabric.strategy.launcher, "procs", [])
        others = list(processes)
        processes.clear()  # else Lightning, which watches them, kills this process too
        for other in others:
            other.kill()
            other.wait()

    @property
    def number(self) -> int:
        """The number of processes."""
        return self._fabric.world_size

    @property
    def is_first(self) -> bool:
        """True in the process that writes files."""
        return self._fabric.is_global_zero

    def run_on_rank_zero(self, function: Callable[[], T]) -> T:
        """Call a function on rank zero, however long it takes, and return its result in all processes.

        If it fails, its exception is raised on rank zero, and the other ranks exit.
        """
        result: T | None = None
        failure: Exception | None = None
        with self._fabric.rank_zero_first():
            if self.is_first:
                try:
                    result = function()
                except Exception as error:
                    failure = error
        failed, result = self._fabric.broadcast((failure is not None, result))
        if failure is not None:
            raise failure
        if failed:
            raise SystemExit(1)
        return cast(T, result)
