"""The progress of a build, reported phase by phase; a build can be cancelled at its next step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Phase = tuple[str, int, int]
"""A phase's name, its completed steps, its number of steps."""

ProgressCallback = Callable[[Sequence[Phase]], None]
"""Called with the phases under way, the outermost first."""


def progress_monitor(trt: Any, on_progress: ProgressCallback) -> Any:
    """A TensorRT progress monitor. Set ``stop`` to cancel the build; ``error`` is what ``on_progress`` raised."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.stop = False
            self.error: Exception | None = None
            self.phases: dict[str, tuple[int, int]] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.phases[phase_name] = (0, num_steps)
            self._report()

        def step_complete(self, phase_name: str, step: int) -> bool:
            self.phases[phase_name] = (step + 1, self.phases.get(phase_name, (0, step + 1))[1])
            self._report()
            return not self.stop

        def phase_finish(self, phase_name: str) -> None:
            self.phases.pop(phase_name, None)

        def _report(self) -> None:
            try:
                on_progress([(name, *steps) for name, steps in self.phases.items()])
            except Exception as error:  # it must not reach the library: it would terminate the library's threads
                self.error, self.stop = error, True

    return Monitor()
