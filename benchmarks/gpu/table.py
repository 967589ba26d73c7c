"""A table of ``benchmarks/gpu``: errors become notes, and each row is saved as soon as it is measured."""

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
"""Runs one round of a contestant, given the round's number."""

MIN_ROUNDS = 3  # a slow contestant runs at least these, even if its time is used up


@dataclass
class Report:
    """All tables as one JSON object, and the file that holds it."""

    path: Path | None
    tables: dict[str, Any] = field(default_factory=dict)

    def save(self) -> None:
        if self.path:
            write_atomically(self.path, json.dumps(self.tables, indent=1, allow_nan=False).encode())


class Table:
    """One table. Each row is saved as it is added.

    Args:
        seconds: the time after which no further measurement is started.
    """

    def __init__(self, name: str, report: Report, *, seconds: float) -> None:
        self.content: dict[str, Any] = {"rows": [], "notes": []}
        report.tables[name] = self.content
        self._report, self._until = report, time.monotonic() + seconds

    @property
    def out_of_time(self) -> bool:
        return time.monotonic() > self._until

    def add_row(self, row: Row) -> None:
        self.content["rows"].append(row)
        self._report.save()

    def set_facts(self, **facts: Any) -> None:
        """Facts beside the rows: sizes, counts, rates."""
        self.content.update(facts)
        self._report.save()

    def add_note(self, text: str) -> None:
        if text not in self.content["notes"]:
            self.content["notes"].append(text)
            self._report.save()

    @contextmanager
    def errors_as_notes(self, what: str) -> Iterator[None]:
        """An error within becomes a note; the other measurements continue."""
        try:
            yield
        except Exception as error:  # of a driver, a library or this project: no error may end the run
            self.add_note(f"{what}: {one_line(error)}")

    def run_in_turns(self, contestants: Mapping[str, Run], *, rounds: int, warm_up: int, each_s: float) -> dict[str, Times]:
        """Seconds of each round. All contestants run in turn, every other round in reverse order.

        A disturbance therefore affects all of them.

        A contestant that fails becomes a note and keeps the rounds that it has. One that has used ``each_s`` seconds stops.
        """
        times: dict[str, Times] = {name: {} for name in contestants}
        used = dict.fromkeys(contestants, 0.0)
        live = dict(contestants)
        for i in range(-warm_up, rounds):
            for name, run in list(live.items())[:: 1 if i % 2 else -1]:
                if self.out_of_time or (used[name] > each_s and len(times[name]) >= MIN_ROUNDS):
                    del live[name]
                    if self.out_of_time:
                        self.add_note(f"{name}: the time was up after {len(times[name])} of {rounds} rounds")
                    continue
                began = time.perf_counter()
                try:
                    run(warm_up + i)
                except Exception as error:
                    del live[name]
                    self.add_note(f"{name}: {one_line(error)}")
                    continue
                took = time.perf_counter() - began
                used[name] += took
                if i >= 0:
                    times[name][i] = took
        return times


class WarningNotes(logging.Handler):
    """Warnings of the project's own code become notes, for example that no CUDA graph could be captured.

    Used as ``with WarningNotes(table)``.
    """

    def __init__(self, table: Table) -> None:
        super().__init__(logging.WARNING)
        self._table, self._log = table, logging.getLogger("posemoe_edge")

    def emit(self, record: logging.LogRecord) -> None:
        self._table.add_note(f"warning: {record.getMessage()}")

    def __enter__(self) -> None:
        self._log.addHandler(self)

    def __exit__(self, *error: object) -> None:
        self._log.removeHandler(self)


Times = dict[int, float]
"""Round -> seconds."""


def median_ms(times: Times, percentile: float = 50) -> float | None:
    """Median milliseconds of a round, or another percentile; None without rounds."""
    return round(1000 * float(np.percentile(list(times.values()), percentile)), 4) if times else None


def median_ratio(times: Times, other: Times) -> float | None:
    """Median time over the other's, in the rounds that both have."""
    shared = sorted(times.keys() & other.keys())
    return ratio(_median(times, shared), _median(other, shared)) if shared else None


def ratio(a: float | None, b: float | None) -> float | None:
    return round(a / b, 3) if a is not None and b else None


def synchronize(device: torch.device) -> None:
    """Wait for the device's pending work; a CPU has none."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def with_peak_memory(make: Callable[[], Run], device: torch.device) -> tuple[Run, float | None]:
    """A contestant and its peak megabytes of PyTorch's GPU memory: weights and the work of its first round."""
    if device.type != "cuda":
        return make(), None
    gc.collect()
    torch.cuda.empty_cache()
    torch.ones(2, 2, device=device) @ torch.ones(
        2, 2, device=device
    )  # cuBLAS allocates its workspace once, outside the measurement
    before = torch.cuda.memory_allocated()
    run = make()
    torch.cuda.reset_peak_memory_stats()
    run(0)
    synchronize(device)
    return run, round((torch.cuda.max_memory_allocated() - before) / 1e6, 2)


def one_line(error: BaseException) -> str:
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
