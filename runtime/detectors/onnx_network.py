"""Networks in ``.onnx`` files, run on the processor by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..engines.onnxruntime import open_cpu_session
from ..errors import ArtefactError

Shape = tuple[int, ...]

_TYPES: dict[str, DTypeLike] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
    "tensor(int32)": np.int32,
}


class OnnxNetwork:
    """A network with one input, which holds pictures.

    Args:
        file: the ``.onnx`` file.
        expected: what network the file should hold, for error messages.
        purpose: what needs it, for the error without ONNX Runtime: "the detector movenet".
        threads: processor threads.

    Raises:
        ArtefactError: ONNX Runtime cannot open the file, or it has several inputs, or one of another type.
        MissingError: ONNX Runtime is not installed.
    """

    def __init__(self, file: Path, *, expected: str, purpose: str, threads: int = 1) -> None:
        self.name, self.expected = str(file), expected
        self._session = open_cpu_session(file, threads=threads, purpose=purpose, expected=expected)
        inputs = self._session.get_inputs()
        self.output_shapes: dict[str, Shape] = {output.name: _shape(output) for output in self._session.get_outputs()}
        self._values: dict[str, NDArray[Any]] = {}
        self.input_shape: Shape = _shape(inputs[0]) if inputs else ()
        if len(inputs) != 1 or inputs[0].type not in _TYPES:
            raise self.unfit()
        self.input_type: DTypeLike = _TYPES[inputs[0].type]
        self._input = inputs[0].name

    def unfit(self) -> ArtefactError:
        """See ``Network.unfit``."""
        outputs = ", ".join(map(str, self.output_shapes.values()))
        return ArtefactError(f"{self.name} has the input {self.input_shape} and the outputs {outputs}", expected=self.expected)

    def run(self, values: NDArray[Any]) -> None:
        """See ``Network.run``."""
        self._values = dict(zip(self.output_shapes, self._session.run(None, {self._input: values}), strict=True))

    def output(self, name: str) -> NDArray[Any]:
        """See ``Network.output``."""
        return self._values[name]


def _shape(tensor: Any) -> Shape:
    """Its shape, -1 for an axis that the file leaves open."""
    return tuple(axis if isinstance(axis, int) else -1 for axis in tensor.shape)
