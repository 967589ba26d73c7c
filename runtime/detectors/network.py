"""Networks of detectors, whichever library runs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from numpy.typing import DTypeLike, NDArray

from ..errors import ArtefactError
from .litert import LiteRtNetwork
from .network_file import check_network_file
from .onnx_network import OnnxNetwork

Shape = tuple[int, ...]


class Network(Protocol):
    """A network with one input.

    Attributes:
        input_shape: -1 for an axis of any length.
        input_type: the numpy type of the input's numbers.
        output_shapes: name -> shape of each output, in the network's order; -1 for an axis of any length.
    """

    input_shape: Shape
    input_type: DTypeLike
    output_shapes: dict[str, Shape]

    def run(self, values: NDArray[Any]) -> None:
        """Run the network; ``output`` then has the results. ``values`` fits the input's shape and type."""
        ...

    def output(self, name: str) -> NDArray[Any]:
        """An output of the last run."""
        ...

    def unfit(self) -> ArtefactError:
        """The error for a network whose inputs or outputs are not as expected."""
        ...


def open_network(path: str | Path, *, form: str, expected: str, threads: int = 1) -> Network:
    """The network in a file: by ONNX Runtime if its name ends in ``.onnx``, else by LiteRT.

    Args:
        path: the file.
        form: how a user names it, for error messages: "movenet:FILE".
        expected: what network the file should hold, for error messages.
        threads: processor threads.

    Raises:
        MissingError: there is no such file, or the library is not installed. Nothing is ever downloaded.
        ArtefactError: the file is no such network.
    """
    file = Path(path)
    check_network_file(file, expected=f"a file with a network, as in {form}")
    purpose = f"the detector {form.partition(':')[0]}"
    if file.suffix.lower() == ".onnx":
        return OnnxNetwork(file, expected=expected, purpose=purpose, threads=threads)
    return LiteRtNetwork(file.read_bytes(), name=str(file), expected=expected, purpose=purpose, threads=threads)
