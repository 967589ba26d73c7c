"""Data-parallel training under torchrun: the processes, and decisions that all of them share."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import distributed as dist


@contextmanager
def process_group() -> Iterator[tuple[int, torch.device]]:
    """The rank and the device of this process; under torchrun its processes form a group for the time of the context."""
    cuda = torch.cuda.is_available()
    local_rank = int(os.environ.get("LOCAL_RANK", 0))
    device = torch.device("cuda", local_rank) if cuda else torch.device("cpu")
    if int(os.environ.get("WORLD_SIZE", 1)) < 2:
        yield 0, device
        return
    dist.init_process_group("nccl" if cuda else "gloo")
    try:
        yield dist.get_rank(), device
    finally:
        dist.destroy_process_group()


def process_count() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def first_process_decides(values: Sequence[float], device: torch.device) -> list[float]:
    """The first process's values in all processes.

    Their clocks differ, and only the first one knows what measuring took. But all of them must use one learning rate, and stop
    after the same update.
    """
    if not dist.is_initialized():
        return list(values)
    shared = torch.tensor(values, dtype=torch.float64, device=device)
    dist.broadcast(shared, 0)
    return shared.tolist()
