"""Networks in ``.tflite`` files, run on the processor by LiteRT (TensorFlow Lite)."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from numpy.typing import DTypeLike, NDArray

from ..errors import ArtefactError, missing_extra

Shape = tuple[int, ...]


class LiteRtNetwork:
    """A network with one input; axes of any length are -1 in its shapes.

    Args:
        content: of the ``.tflite`` file.
        name: of the file, for error messages.
        expected: what network the file should hold, for error messages.
        purpose: what needs it, for the error without LiteRT: "the detector movenet".
        threads: processor threads.

    Raises:
        ArtefactError: the content is no ``.tflite`` file, cannot be loaded, or has several inputs.
        MissingError: LiteRT is not installed.
    """

    def __init__(self, content: bytes, *, name: str, expected: str, purpose: str, threads: int = 1) -> None:
        self.name, self.expected = name, expected
        if content[4:8] != b"TFL3":
            raise ArtefactError(f"{name} is not a .tflite file", expected=expected)
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError:
            raise missing_extra("ai-edge-litert", "camera", purpose) from None
        try:
            with _native_stderr_discarded():
                self._interpreter: Any = Interpreter(model_content=content, num_threads=threads)
                inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
                self.input_shape: Shape = tuple(map(int, inputs[0]["shape_signature"]))
                if -1 not in self.input_shape:  # else by the first run
                    self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ArtefactError(f"{name} cannot be loaded ({_first_line(error)})", expected=expected) from None
        self._allocated_shape = self.input_shape
        self.input_type: DTypeLike = inputs[0]["dtype"]
        self.output_shapes: dict[str, Shape] = {
            output["name"]: tuple(map(int, output["shape_signature"])) for output in outputs
        }
        self._input = inputs[0]["index"]
        self._outputs = {output["name"]: output["index"] for output in outputs}
        if len(inputs) != 1:
            raise self.unfit()

    def unfit(self) -> ArtefactError:
        """The error for a network whose inputs or outputs are not as expected."""
        outputs = ", ".join(map(str, self.output_shapes.values()))
        return ArtefactError(f"{self.name} has the input {self.input_shape} and the outputs {outputs}", expected=self.expected)

    def run(self, values: NDArray[Any]) -> None:
        """Run the network; ``output`` then has the results. ``values`` has the input's shape and type."""
        if values.shape != self._allocated_shape:
            self._interpreter.resize_tensor_input(self._input, values.shape, strict=True)
            self._interpreter.allocate_tensors()
            self._allocated_shape = values.shape
        self._interpreter.set_tensor(self._input, values)
        self._interpreter.invoke()

    def output(self, name: str) -> NDArray[Any]:
        """A copy of an output of the last run."""
        output: NDArray[Any] = self._interpreter.get_tensor(self._outputs[name])
        return output


@contextmanager
def _native_stderr_discarded() -> Iterator[None]:
    """Discard what native code writes to file descriptor 2: LiteRT logs there when it starts, and no option prevents it."""
    sys.stderr.flush()
    try:
        stderr = os.dup(2)
    except OSError:  # the process has no stderr
        yield
        return
    with tempfile.TemporaryFile() as discarded:
        os.dup2(discarded.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
