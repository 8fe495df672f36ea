"""FSDP on CPUs, although Lightning requires GPUs: the same wrapping, collectives and full checkpoints."""

import torch
from lightning.pytorch.strategies import FSDPStrategy, fsdp
from torch.distributed.fsdp import (
    FullOptimStateDictConfig,
    FullStateDictConfig,
    FullyShardedDataParallel,
    StateDictType,
)


class CpuFSDP(FSDPStrategy):
    """Strategy for ``--teacher.trainer.strategy``."""

    def __init__(self):
        super().__init__(process_group_backend="gloo")

    def _setup_model(self, model):
        return FullyShardedDataParallel(model, device_id=torch.device("cpu"), **self.kwargs)


def _full_state_dict_context(module, world_size, rank0_only=True):
    """Gather without offloading to the CPU, which loses tensors that are already there."""
    kinds = (FullStateDictConfig(False, False), FullOptimStateDictConfig(False, False))
    return FullyShardedDataParallel.state_dict_type(module, StateDictType.FULL_STATE_DICT, *kinds)


fsdp._get_full_state_dict_context = _full_state_dict_context
