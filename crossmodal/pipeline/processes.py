"""The processes of a run, one for each device: all walk through the same code, and some of it is for one alone."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, cast

import torch.distributed as dist
from lightning.fabric import Fabric
from lightning.fabric.strategies.launchers.subprocess_script import _SubprocessScriptLauncher
from lightning.fabric.utilities.exceptions import MisconfigurationException

from crossmodal.errors import ConfigError, ProcessLostError
from crossmodal.stopping import Terminated

T = TypeVar("T")


class Processes:
    """The processes that share a run.

    Lightning would start them at the first training, in the middle of what only one may do; so they are started before
    everything else, and every Trainer finds them.

    Args:
        trainer: The run's section of that name; of it ``accelerator``, ``devices`` and ``num_nodes``.

    Raises:
        ConfigError: A strategy that starts processes of its own for each stage.
    """

    def __init__(self, trainer: Mapping[str, Any]) -> None:
        strategy = trainer.get("strategy", "auto")
        if isinstance(strategy, str) and strategy.endswith(("spawn", "fork", "notebook")):
            raise ConfigError(f"The strategy {strategy} starts new processes for each stage: use ddp.")
        where = {name: trainer[name] for name in ("accelerator", "devices", "num_nodes") if name in trainer}
        try:
            self._fabric = Fabric(**where)
        except (MisconfigurationException, RuntimeError, TypeError, ValueError) as error:
            raise ConfigError(f"There are no such devices ({_words(where)}): {error}") from error

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """What all do together stands in this block; where one ends, the others do not wait for it.

        The others are started here, unless somebody has: the process that did, ``torchrun``, or a cluster's queue.

        Raises:
            ProcessLostError: Another process does not answer.
        """
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
                f"Process {self._fabric.global_rank} of {self.number} has lost another one, whose own words say why if "
                "it had any. The same command goes on where the run was."
            ) from error
        finally:
            dist.destroy_process_group()  # left to the interpreter's end, its threads can abort the process

    def _end_others(self) -> None:
        """End the processes that this one has started; they write nothing, so they need not be asked."""
        launcher = self._fabric.strategy.launcher
        others = list(launcher.procs) if isinstance(launcher, _SubprocessScriptLauncher) else []
        if isinstance(launcher, _SubprocessScriptLauncher):
            launcher.procs.clear()  # or Lightning, which looks after them, kills this one too
        for other in others:
            other.kill()
            other.wait()

    @property
    def number(self) -> int:
        """How many there are."""
        return self._fabric.world_size

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes."""
        return self._fabric.is_global_zero

    def first_says(self, do: Callable[[], T]) -> T:
        """Let the first process do something alone, however long it takes; all get what it returns.

        Raises:
            Exception: What the first process raised, there; the others leave.
        """
        said: T | None = None
        failure: Exception | None = None
        with self._fabric.rank_zero_first():
            if self.is_first:
                try:
                    said = do()
                except Exception as error:
                    failure = error
        failed, said = self._fabric.broadcast((failure is not None, said))
        if failure is not None:
            raise failure
        if failed:
            raise SystemExit(1)
        return cast(T, said)


def _words(where: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in where.items())
