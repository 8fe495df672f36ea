"""FSDP on CPUs, of which Lightning says that it needs GPUs: the same wrapping, collectives and whole checkpoints."""

import torch
from lightning.pytorch.strategies import FSDPStrategy, fsdp
from torch.distributed.fsdp import (
    FullOptimStateDictConfig,
    FullStateDictConfig,
    FullyShardedDataParallel,
    StateDictType,
)


class CpuFSDP(FSDPStrategy):
    """A strategy for ``--teacher.trainer.strategy``."""

    def __init__(self):
        super().__init__(process_group_backend="gloo")

    def _setup_model(self, model):
        return FullyShardedDataParallel(model, device_id=torch.device("cpu"), **self.kwargs)


def _whole(module, world_size, rank0_only=True):
    """Gather without moving to the CPU, for what is there already is lost in that."""
    kinds = (FullStateDictConfig(False, False), FullOptimStateDictConfig(False, False))
    return FullyShardedDataParallel.state_dict_type(module, StateDictType.FULL_STATE_DICT, *kinds)


fsdp._get_full_state_dict_context = _whole
