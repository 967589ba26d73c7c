"""A Triton in this process, as far as a client sees it: tritonclient's own service, with the real model of people behind it.

Sequences begin with START and end with END as in Triton's sequence batcher. A test can break it in several ways.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from google.protobuf import text_format
from posemoe_edge.runtime.errors import FrameError
from posemoe_edge.runtime.model import load
from posemoe_edge.runtime.pose.types import Pose
from posemoe_edge.runtime.serving import wire, write_repository
from posemoe_edge.runtime.serving.held_streams import HeldStreams, SequenceFrame
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc


class TritonDouble(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Serves the model of people of an artefact; ``kill`` and ``start`` are a restart on the same port.

    Attributes:
        break_after: the stream breaks after so many further frames; None never.
        broken: every stream breaks at once.
        silent: sequences whose frames get no answer.
        seen: what each sequence sent since the start: (time, START, END), time None for a goodbye.
    """

    def __init__(self, artefact: Path, folder: Path, *, most: int = 256) -> None:
        self._artefact, self._most, self.port = artefact, most, 0
        models = write_repository(artefact, folder / "repo")
        self.names = [models[0].name]
        self.config = text_format.Parse(models[0].config, model_config_pb2.ModelConfig())
        self.break_after: int | None = None
        self.broken = False
        self.silent: set[int] = set()
        self._lock = threading.Lock()
        self.start()

    @property
    def url(self) -> str:
        return f"grpc://127.0.0.1:{self.port}"

    @property
    def held(self) -> int:
        return len(self._held)

    def start(self) -> None:
        self._held = HeldStreams(load(self._artefact), idle_s=60, most=self._most)
        self.seen: dict[int, list[tuple[float | None, bool, bool]]] = {}
        self._server = grpc.server(ThreadPoolExecutor(32), options=[("grpc.so_reuseport", 0)])
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        self._server.start()

    def kill(self) -> None:
        self._server.stop(grace=None).wait()
        self._held.close()

    def forget_everybody(self) -> None:
        """As after idle time."""
        self._held.close()
        self.seen.clear()

    def RepositoryIndex(self, request: Any, context: Any) -> Any:
        models = [service_pb2.RepositoryIndexResponse.ModelIndex(name=name, state="READY") for name in self.names]
        return service_pb2.RepositoryIndexResponse(models=models)

    def ModelConfig(self, request: Any, context: Any) -> Any:
        if request.name not in self.names:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Request for unknown model: '{request.name}' is not found")
        return service_pb2.ModelConfigResponse(config=self.config)

    def ModelStreamInfer(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:
        for request in requests:
            with self._lock:
                if self.broken or self.break_after == 0:
                    self.break_after = None
                    context.abort(grpc.StatusCode.UNAVAILABLE, "broken by the test")
                self.break_after = None if self.break_after is None else self.break_after - 1
                frame = _frame(request)
                answer = self._held.answer([frame])[0]
                self.seen.setdefault(int(frame.sequence), []).append((frame.t_s, frame.start, frame.end))
            if frame.sequence not in self.silent:
                yield _response(request.id, answer)


def _frame(request: Any) -> SequenceFrame:
    arrays = {}
    for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True):
        dtype, shape = wire.INPUTS[tensor.name]
        assert tuple(tensor.shape) == (1, *shape)
        arrays[tensor.name] = np.frombuffer(raw, dtype).reshape(shape)
    parameters = request.parameters
    return SequenceFrame(
        parameters["sequence_id"].int64_param,
        start=parameters["sequence_start"].bool_param,
        end=parameters["sequence_end"].bool_param,
        keypoints=arrays.get(wire.KEYPOINTS),
        t_s=float(arrays[wire.TIME][0]) if wire.TIME in arrays else None,
        reset=bool(arrays[wire.RESET][0]) if wire.RESET in arrays else False,
    )


def _response(request_id: str, answer: Pose | FrameError | None) -> Any:
    response = service_pb2.ModelStreamInferResponse()
    response.infer_response.id = request_id
    if isinstance(answer, FrameError):
        response.error_message = f"{wire.REFUSED}{answer}"
    elif answer is not None:
        for name, array in wire.pose_arrays(answer).items():
            response.infer_response.outputs.add(name=name, shape=(1, *array.shape))
            response.infer_response.raw_output_contents.append(array.tobytes())
    return response
