"""What the tests of slots share: a graph's record, and an engine written in numpy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from posemoe_edge.runtime.artefact.graph_parts import State, Tensor
from posemoe_edge.runtime.artefact.manifest import Graph, Mode

Arrays = dict[str, NDArray[Any]]


def tensor(name: str, *shape: int, dtype: str = "float32") -> Tensor:
    return Tensor(name=name, dtype=dtype, shape=("B", *shape), axes=("stream",) * (1 + len(shape)), meaning="")


def graph_record(mode: Mode, *, frames: int, poses: int | None = None) -> Graph:
    """A graph with a state of three numbers, or of mode window without one; ``poses`` of a window, by default all."""
    time = () if mode == "step" else (frames,)
    inputs = [tensor("keypoints", *time, 17, 3)]
    outputs = [tensor("pose", *(time if poses is None else (poses,)), 17, 3)]
    states = []
    if mode != "window":
        inputs += [tensor("state", 3), tensor("dt", *time), tensor("reset", dtype="bool")]
        outputs += [tensor("next_state", 3)]
        states = [
            State(
                input="state",
                output="next_state",
                dtype="float32",
                shape=("B", 3),
                axes=("stream", "channel"),
                initial="zeros",
                reset="",
            )
        ]
    return Graph(
        file="x.onnx",
        mode=mode,
        precision="fp32",
        opset=20,
        frames=frames,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        states=tuple(states),
        fp32_nodes="",
        passes=(),
    )


class NumpyEngine:
    """An engine whose arithmetic is the same for any number of rows, bit for bit.

    Args:
        compute: reads the inputs and writes the outputs of one launch.
    """

    device: None = None

    def __init__(self, compute: Callable[[Arrays, Arrays], None]) -> None:
        self.name, self.metadata = "numpy", dict[str, str]()
        self.inputs: dict[str, tuple[str, tuple[int | str, ...]]] = {}
        self.outputs: dict[str, tuple[str, tuple[int | str, ...]]] = {}
        self._compute = compute
        self.rows: list[int] = []  # of each launch
        self.bound = 0  # how often ``bind`` was called
        self.broken = False  # the next launches raise, after they have written

    def zeros(self, shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
        return np.zeros(tuple(shape), dtype)

    def bind(self, inputs: Arrays, outputs: Arrays) -> Callable[[], None]:
        self.bound += 1
        assert not any(np.may_share_memory(x, y) for x in inputs.values() for y in outputs.values())

        def launch() -> None:
            self.rows.append(len(inputs["keypoints"]))
            for array in outputs.values():
                array[:] = np.nan  # visible to a read before the write below
            self._compute(inputs, outputs)
            if self.broken:
                raise RuntimeError("out of memory")

        return launch

    def close(self) -> None: ...
