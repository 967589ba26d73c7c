from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from posemoe_edge.calib.measure.side_by_side import side_by_side

Report = Callable[[int], None]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_order_and_progress_adds_up(workers: int) -> None:
    done: list[int] = []

    def task(number: int) -> Callable[[Report], int]:
        def run(report: Report) -> int:
            report(number)
            return 10 * number

        return run

    assert side_by_side([task(i) for i in range(5)], on_progress=done.append, workers=workers) == [0, 10, 20, 30, 40]
    assert sorted(done) == [0, 1, 2, 3, 4]


def test_as_many_run_at_once_as_there_are_workers() -> None:
    together = threading.Barrier(2, timeout=10)  # broken unless two wait at once
    assert side_by_side([lambda report: together.wait() >= 0] * 2, workers=2) == [True, True]


def test_one_worker_is_the_calling_thread() -> None:
    assert side_by_side([lambda report: threading.current_thread()] * 2, workers=1) == [threading.current_thread()] * 2


def test_an_error_ends_the_others_at_their_next_report() -> None:
    begun, started = threading.Event(), []

    def endless(report: Report) -> None:
        begun.set()
        while True:
            report(1)

    def fails(report: Report) -> None:
        begun.wait(10)
        raise ValueError("no pose")

    def waits(report: Report) -> None:
        started.append(True)

    with pytest.raises(ValueError, match="no pose"):
        side_by_side([endless, fails, waits, waits], workers=2)
    assert len(started) <= 1  # by the worker whose task failed


def test_an_interrupt_ends_all(monkeypatch: pytest.MonkeyPatch) -> None:
    from posemoe_edge.calib.measure import side_by_side as module

    def interrupted(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "wait", interrupted)

    def endless(report: Report) -> None:
        while True:
            report(1)

    with pytest.raises(KeyboardInterrupt):
        side_by_side([endless, endless], workers=2)
