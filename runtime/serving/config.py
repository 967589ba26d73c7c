"""The ``config.pbtxt`` of a model in a Triton repository, generated from an artefact's manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..artefact.graph_parts import Tensor
from ..artefact.manifest import Graph, Manifest
from ..engines.tensorrt.plan import Plan
from ..errors import UsageError
from ..gaps import GapPolicy
from . import wire
from .text_format import Value, Word, text_format

HEADER = "# Written by posemoe-edge"
"""Begins each configuration that is ours, and may therefore be replaced."""

SPARE_SEQUENCES = 1024
"""So many more sequences than people fit into Triton: one that does not fit waits there without an answer, whereas the model of
people refuses it at once."""

_TYPES = {"float32": "TYPE_FP32", "float16": "TYPE_FP16", "float64": "TYPE_FP64", "bool": "TYPE_BOOL", "int32": "TYPE_INT32"}


@dataclass(frozen=True)
class ServingLimits:
    """What a server holds at once, and how long.

    Args:
        people: most people whose state is kept at the same time. Further ones are refused, or wait if Triton keeps it.
        batch: most people of one launch.
        idle_s: how long a person's state is kept without a frame.
        delay_us: how long a launch waits for further people, in microseconds.

    Raises:
        UsageError: a number that is not possible.
    """

    people: int = 256
    batch: int = 32
    idle_s: float = 30.0
    delay_us: int = 500

    def __post_init__(self) -> None:
        if not (self.people > 0 and self.batch > 0 and self.idle_s > 0 and self.delay_us >= 0):
            raise UsageError(f"invalid limits of a server: {self}", expected="people, batch and idle time above 0")


def graph_config(name: str, manifest: Manifest, graph: Graph, limits: ServingLimits) -> str:
    """The configuration of an ONNX graph, run by Triton's backend of ONNX Runtime.

    A graph with a state gets Triton's implicit state, a graph of a window is batched without one. ``dt`` is an input: it is the
    difference of the client's capture times, which the server does not know. ``reset`` is an input too, and not the control
    START: that one has a shape that the graph does not take, and cannot reset within a sequence.
    """
    return _text(
        manifest,
        {
            "name": name,
            "backend": "onnxruntime",
            "max_batch_size": limits.batch,
            "default_model_filename": graph.file,
            **_interface(graph),
            **_batching(graph, limits),
            "instance_group": {"count": 1, "kind": Word("KIND_AUTO")},
            **_VERSIONS,
            **_warmup(graph),
        },
    )


def plan_config(name: str, manifest: Manifest, graph: Graph, plans: Mapping[str, Plan], limits: ServingLimits) -> str:
    """The configuration of a graph's TensorRT plans, run by Triton's backend of TensorRT.

    Args:
        plans: by the GPU's compute capability as Triton writes it, "8.7".
    """
    batch = min([limits.batch, *(plan.key.streams[2] for plan in plans.values())])
    first = next(iter(plans.values()))
    return _text(
        manifest,
        {
            "name": name,
            "backend": "tensorrt",
            "max_batch_size": batch,
            "default_model_filename": first.path.name,
            "cc_model_filenames": [{"key": capability, "value": plan.path.name} for capability, plan in plans.items()],
            **_interface(graph),
            **_batching(graph, limits),
            "instance_group": {"count": 1, "kind": Word("KIND_GPU")},
            **_VERSIONS,
            **_warmup(graph),
        },
    )


def people_config(
    name: str,
    manifest: Manifest,
    graph: Graph,
    limits: ServingLimits,
    *,
    identity: str,
    artefact: str,
    gaps: GapPolicy | None = None,
    allow_failed: bool = False,
    instances: int = 1,
) -> str:
    """The configuration of the model of people, run by Triton's Python backend.

    It has no implicit state, which that backend gets wrong without an error: the state lies in the model's own streams.

    Args:
        identity: of the graph, as ``Model.identity``.
        artefact: the artefact's name in the folder of the model's version.
        instances: processes, each with a model of its own.
    """
    manifest_json = manifest.model_dump_json()
    parameters = {
        "protocol": wire.PROTOCOL,
        "artefact": artefact,
        "precision": graph.precision,
        "identity": identity,
        "people": str(-(-limits.people // instances)),
        "idle_s": repr(limits.idle_s),
        **wire.gap_parameters(gaps or GapPolicy()),
        "allow_failed": str(allow_failed).lower(),
        "warm_up": str(limits.batch),
        "manifest": manifest_json,
    }
    outputs = {key: of for key, of in wire.OUTPUTS.items() if key != wire.SIGMA or manifest.has_sigma}
    return _text(
        manifest,
        {
            "name": name,
            "backend": "python",
            "max_batch_size": limits.batch,
            "input": [{**_array(key, *of), "optional": True} for key, of in wire.INPUTS.items()],
            "output": [_array(key, *of) for key, of in outputs.items()],
            "sequence_batching": _sequences(limits, candidates=limits.people + SPARE_SEQUENCES),
            "instance_group": {"count": instances, "kind": Word("KIND_CPU")},
            **_VERSIONS,
            "parameters": [{"key": key, "value": {"string_value": text}} for key, text in parameters.items()],
        },
    )


_VERSIONS: dict[str, Value] = {"version_policy": {"latest": {"num_versions": 1}}}


def _text(manifest: Manifest, fields: Mapping[str, Value]) -> str:
    return f"{HEADER} of {manifest.preset}: the next `posemoe-edge triton` replaces this folder.\n{text_format(fields)}"


def _interface(graph: Graph) -> dict[str, Value]:
    """The inputs and outputs that requests have: all but the states."""
    states = {name for state in graph.states for name in (state.input, state.output)}
    inputs = [_tensor(tensor) for tensor in graph.inputs if tensor.name not in states]
    return {"input": inputs, "output": [_tensor(tensor) for tensor in graph.outputs if tensor.name not in states]}


def _tensor(tensor: Tensor) -> dict[str, Value]:
    return {"name": tensor.name, "data_type": _type(tensor.dtype), **_dims(tensor.shape[1:])}


def _array(name: str, dtype: type[np.generic], shape: Sequence[int]) -> dict[str, Value]:
    return {"name": name, "data_type": _type(np.dtype(dtype).name), "dims": list(shape)}


def _type(dtype: str) -> Word:
    return Word(_TYPES[dtype])


def _dims(shape: Sequence[int | str]) -> dict[str, Value]:
    """The axes behind that of the batch. A tensor without any has one of 1 in a request: Triton's has at least one."""
    return {"dims": [int(axis) for axis in shape]} if shape else {"dims": 1, "reshape": {}}


def _batching(graph: Graph, limits: ServingLimits) -> dict[str, Value]:
    if not graph.states:
        return {"dynamic_batching": {"max_queue_delay_microseconds": limits.delay_us}}
    states: list[Value] = []
    for state in graph.states:
        memory: dict[str, Value] = {"data_type": _type(state.dtype), "dims": [int(axis) for axis in state.shape[1:]]}
        zeros = {"name": f"zero {state.input}", **memory, "zero_data": True}
        states.append({"input_name": state.input, "output_name": state.output, **memory, "initial_state": zeros})
    return {"sequence_batching": {**_sequences(limits), "state": states}}


def _sequences(limits: ServingLimits, *, candidates: int | None = None) -> dict[str, Value]:
    oldest: dict[str, Value] = {
        "max_candidate_sequences": candidates or limits.people,
        "max_queue_delay_microseconds": limits.delay_us,
    }
    return {"max_sequence_idle_microseconds": round(limits.idle_s * 1e6), "oldest": oldest}


def _warmup(graph: Graph) -> dict[str, Value]:
    """A first launch before the server says that it is ready, of a graph without a state.

    A warm-up passes by the sequence batcher, so that it would bring no state with it.
    """
    if graph.states:
        return {}
    inputs: list[Value] = []
    for tensor in graph.inputs:
        dims = [int(axis) for axis in tensor.shape[1:]] or [1]
        inputs.append({"key": tensor.name, "value": {"data_type": _type(tensor.dtype), "dims": dims, "zero_data": True}})
    return {"model_warmup": {"name": "nobody", "batch_size": 1, "inputs": inputs}}
