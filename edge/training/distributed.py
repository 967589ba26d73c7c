"""Data-parallel training under torchrun: the processes, their shares of the data, and what all of them must agree on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import distributed as dist

from ..data.sequences import DatasetItem
from .training_file import TrainingHistory

Saved = tuple[dict[str, torch.Tensor], TrainingHistory]
Item = TypeVar("Item", bound=DatasetItem)


@contextmanager
def process_group() -> Iterator[tuple[int, torch.device]]:
    """The rank and the device of this process; under torchrun its processes form a group for the time of the context."""
    cuda = torch.cuda.is_available()
    local_rank = int(os.environ.get("LOCAL_RANK", 0))
    device = torch.device("cuda", local_rank) if cuda else torch.device("cpu")
    if int(os.environ.get("WORLD_SIZE", 1)) < 2:
        yield 0, device
        return
    if cuda:
        torch.cuda.set_device(device)  # on which NCCL sends objects
    dist.init_process_group("nccl" if cuda else "gloo")
    try:
        yield dist.get_rank(), device
    finally:
        dist.destroy_process_group()


def process_count() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def own_share(dataset: Sequence[Item]) -> list[Item]:
    """The clips that this process trains on: each clip is in one share, and the shares have about as many frames.

    All of them where there are fewer clips than processes. Every process must be given the same dataset.
    """
    if not dist.is_initialized():
        return list(dataset)
    return shares(dataset, dist.get_world_size())[dist.get_rank()]


def shares(dataset: Sequence[Item], count: int) -> list[list[Item]]:
    """A dataset in so many parts, see ``own_share``; within each the clips are in their order."""
    if len(dataset) < count:
        return [list(dataset) for _ in range(count)]
    indices: list[list[int]] = [[] for _ in range(count)]
    frames = [0] * count
    for index in sorted(range(len(dataset)), key=lambda index: -len(dataset[index])):
        least = min(range(count), key=lambda share: (frames[share], len(indices[share])))
        indices[least].append(index)
        frames[least] += len(dataset[index])
    return [[dataset[index] for index in sorted(share)] for share in indices]


def load_together(load: Callable[[], Saved | None]) -> Saved | None:
    """The training to resume, the same in every process: the one with the most updates that any process finds.

    So a process that was restarted on another machine, whose disk has an older training or none, goes on with the others.

    Args:
        load: the training that this process finds; None if there is none. The first process calls it before the others, since
            it may complete a save that was cut off.
    """
    if not dist.is_initialized():
        return load()
    rank, count = dist.get_rank(), dist.get_world_size()
    own = load() if rank == 0 else None
    dist.barrier()
    if rank:
        own = load()
    updates: list[Any] = [None] * count
    dist.all_gather_object(updates, -1 if own is None else own[1].updates)
    newest = updates.index(max(updates))
    if updates[newest] < 0 or min(updates) == updates[newest]:
        return own
    sent = [own if rank == newest else None]
    dist.broadcast_object_list(sent, src=newest)
    return sent[0]


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
