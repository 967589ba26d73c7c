"""A table of ``benchmarks/gpu`` that is being filled: an error becomes a note, and a row is on the disk as it is measured."""

from __future__ import annotations

import gc
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from experiment import Row
from posemoe_edge.runtime.artefact.atomic import write_atomically
from posemoe_edge.runtime.errors import PoseEdgeError

Run = Callable[[int], object]
"""A contestant's round, by its number."""

ENOUGH = 3  # rounds of one that takes long: after them its time may be used up


@dataclass
class Report:
    """All tables, and the file in which they are."""

    path: Path | None
    made: dict[str, Any] = field(default_factory=dict)

    def save(self) -> None:
        if self.path:
            write_atomically(self.path, json.dumps(self.made, indent=1, allow_nan=False).encode())


class Sheet:
    """One table. A row is saved as it is added.

    Args:
        seconds: after them nothing is begun any more.
    """

    def __init__(self, name: str, report: Report, *, seconds: float) -> None:
        self.made: dict[str, Any] = {"rows": [], "notes": []}
        report.made[name] = self.made
        self._report, self._until = report, time.monotonic() + seconds

    @property
    def late(self) -> bool:
        return time.monotonic() > self._until

    def add(self, row: Row) -> None:
        self.made["rows"].append(row)
        self._report.save()

    def tell(self, **facts: Any) -> None:
        """What is no row: sizes, counts, rates."""
        self.made.update(facts)
        self._report.save()

    def note(self, text: str) -> None:
        if text not in self.made["notes"]:
            self.made["notes"].append(text)
            self._report.save()

    @contextmanager
    def trying(self, what: str) -> Iterator[None]:
        """What goes wrong within is told, and the others go on."""
        try:
            yield
        except Exception as error:  # a driver's, a library's, ours: none of them may end the run
            self.note(f"{what}: {said(error)}")

    def turns(self, contestants: Mapping[str, Run], *, rounds: int, warm_up: int, each_s: float) -> dict[str, Times]:
        """Seconds of each round, all contestants in turn and every other time backwards: what disturbs one disturbs all.

        Who fails is told and left out from then on, with the rounds that it has. Who has used up ``each_s`` has had enough.
        """
        times: dict[str, Times] = {name: {} for name in contestants}
        used = dict.fromkeys(contestants, 0.0)
        live = dict(contestants)
        for i in range(-warm_up, rounds):
            for name, run in list(live.items())[:: 1 if i % 2 else -1]:
                if self.late or (used[name] > each_s and len(times[name]) >= ENOUGH):
                    del live[name]
                    if self.late:
                        self.note(f"{name}: the time was up after {len(times[name])} of {rounds} rounds")
                    continue
                began = time.perf_counter()
                try:
                    run(warm_up + i)
                except Exception as error:
                    del live[name]
                    self.note(f"{name}: {said(error)}")
                    continue
                took = time.perf_counter() - began
                used[name] += took
                if i >= 0:
                    times[name][i] = took
        return times


class Warned(logging.Handler):
    """What the project's own code warns of is a note: that no CUDA graph could be captured, say.

    Used as ``with Warned(sheet)``.
    """

    def __init__(self, sheet: Sheet) -> None:
        super().__init__(logging.WARNING)
        self._sheet, self._log = sheet, logging.getLogger("posemoe_edge")

    def emit(self, record: logging.LogRecord) -> None:
        self._sheet.note(f"warning: {record.getMessage()}")

    def __enter__(self) -> None:
        self._log.addHandler(self)

    def __exit__(self, *error: object) -> None:
        self._log.removeHandler(self)


Times = dict[int, float]
"""Round -> seconds."""


def median_ms(times: Times, percentile: float = 50) -> float | None:
    """Milliseconds of a round, or another percentile of them; None if there was none."""
    return round(1000 * float(np.percentile(list(times.values()), percentile)), 4) if times else None


def over(times: Times, other: Times) -> float | None:
    """How many times as long as the other, in the rounds that both have."""
    shared = sorted(times.keys() & other.keys())
    return ratio(_median(times, shared), _median(other, shared)) if shared else None


def ratio(a: float | None, b: float | None) -> float | None:
    return round(a / b, 3) if a is not None and b else None


def wait(device: torch.device) -> None:
    """Until the device has done what it was told; a processor has."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def with_peak(make: Callable[[], Run], device: torch.device) -> tuple[Run, float | None]:
    """A contestant, and the most megabytes that PyTorch held for it on a GPU, weights and its first round's work."""
    if device.type != "cuda":
        return make(), None
    gc.collect()
    torch.cuda.empty_cache()
    torch.ones(2, 2, device=device) @ torch.ones(2, 2, device=device)  # cuBLAS takes its own memory once, on nobody's account
    before = torch.cuda.memory_allocated()
    run = make()
    torch.cuda.reset_peak_memory_stats()
    run(0)
    wait(device)
    return run, round((torch.cuda.max_memory_allocated() - before) / 1e6, 2)


def said(error: BaseException) -> str:
    """An error in one line."""
    if isinstance(error, PoseEdgeError):
        return str(error)
    if out_of_memory(error):
        return "out of memory"
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"


def out_of_memory(error: BaseException) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text


def _median(times: Times, rounds: Sequence[int]) -> float:
    return float(np.median([times[i] for i in rounds]))
