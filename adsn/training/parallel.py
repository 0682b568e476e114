"""Training in several processes, as ``torchrun`` starts them: one rank a GPU, or a few on processors."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, distributed, nn

from runtime.core.errors import ConfigError

if TYPE_CHECKING:
    from adsn.network.model import ADSN, Outputs

    Features = Callable[[Tensor, Tensor], Outputs]


class _Features(nn.Module):
    """`ADSN.features` as a module's ``forward``, which is what DistributedDataParallel wraps."""

    def __init__(self, network: ADSN) -> None:
        super().__init__()
        self.network = network

    def forward(self, first: Tensor, second: Tensor) -> Outputs:
        return self.network.features(first, second)


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """This process's ``rank`` among ``size``; rank 0 writes and reports."""

    rank: int = 0
    size: int = 1

    def distribute(self, network: ADSN, device: torch.device) -> Features:
        """The network's `features`, with gradients averaged over all processes where there are several."""
        if self.size == 1:
            return network.features
        devices = [device.index or 0] if device.type == "cuda" else None
        return cast("Features", nn.parallel.DistributedDataParallel(_Features(network), device_ids=devices))

    def agree(self, module: nn.Module) -> None:
        """Average a module's buffers over all processes: what follows the data without gradients."""
        if self.size > 1:
            for buffer in module.buffers():
                distributed.all_reduce(buffer)
                buffer /= self.size


SINGLE_PROCESS = ProcessGroup()


def require_device(name: str) -> None:
    """Refuse a device that this PyTorch cannot compute on.

    Raises:
        ConfigError: says what is there instead.
    """
    there = ["cpu", *(f"cuda:{n}" for n in range(torch.cuda.device_count()))]
    try:
        device = torch.device(name)
        if device.type == "cuda" and not torch.cuda.is_available():
            raise RuntimeError("it sees no CUDA device")
        # The item is copied back, which devices without memory refuse.
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        cause = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
        raise ConfigError(
            f"--device {name}: PyTorch {torch.__version__} cannot use it ({cause}). Here it can use {', '.join(there)}."
        ) from error


def join_process_group(device: str) -> tuple[ProcessGroup, str]:
    """Join the processes ``torchrun`` started, if it did: the place among them and this process's device."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return SINGLE_PROCESS, device
    if device == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    return ProcessGroup(distributed.get_rank(), size), device


def leave_process_group() -> None:
    """Part from the other processes."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
