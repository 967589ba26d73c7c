"""The model that Triton's Python backend loads, with a double of what Triton brings: `tests/real` runs it in a real one."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray
from posemoe_edge.runtime.arrays import F32
from posemoe_edge.runtime.artefact.manifest import read_manifest
from posemoe_edge.runtime.model import load
from posemoe_edge.runtime.serving import write_repository
from posemoe_edge.runtime.serving.python_backend import TritonPythonModel

START, END = 1, 2


@dataclass
class Tensor:
    of: str
    array: NDArray[Any]

    def name(self) -> str:
        return self.of

    def as_numpy(self) -> NDArray[Any]:
        return self.array


@dataclass
class Request:
    sequence: int
    bits: int
    arrays: dict[str, NDArray[Any]]

    def inputs(self) -> list[Tensor]:
        return [Tensor(name, array) for name, array in self.arrays.items()]

    def flags(self) -> int:
        return self.bits

    def correlation_id(self) -> int:
        return self.sequence


@dataclass
class Response:
    output_tensors: list[Tensor] = field(default_factory=list)
    error: Exception | None = None

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        return {tensor.of: tensor.array for tensor in self.output_tensors}


class Family:
    """Of metrics: what each one counts, by name."""

    GAUGE, COUNTER = "gauge", "counter"
    values: ClassVar[dict[str, float]] = {}

    def __init__(self, *, name: str, description: str, kind: str) -> None:
        self.name = name

    def Metric(self, *, labels: dict[str, str]) -> Family:
        self.values[self.name] = 0.0
        return self

    def set(self, value: float) -> None:
        self.values[self.name] = value

    def increment(self, value: float) -> None:
        self.values[self.name] += value


@pytest.fixture
def backend(retention_artefact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TritonPythonModel]:
    utils = ModuleType("triton_python_backend_utils")
    logger = type("Logger", (), {"log_info": staticmethod(lambda text: None)})
    vars(utils).update(Tensor=Tensor, InferenceResponse=Response, TritonError=RuntimeError, MetricFamily=Family, Logger=logger)
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", utils)
    model = write_repository(retention_artefact, tmp_path / "repo")[0]
    config = json.dumps(
        {
            "parameters": _parameters(model.config),
            "output": [{"name": name} for name in ("pose", "score", "times_s", "gap")],
        }
    )
    backend = TritonPythonModel()
    folder = tmp_path / "repo" / model.name
    backend.initialize(
        {
            "model_config": config,
            "model_repository": str(folder),
            "model_version": "1",
            "model_name": model.name,
            "model_instance_name": f"{model.name}_0_0",
        }
    )
    yield backend
    backend.finalize()


def _parameters(config: str) -> dict[str, dict[str, str]]:
    keys = [line.split('"')[1] for line in config.splitlines() if line.startswith('  key: "')]
    values = [json.loads(line.partition(": ")[2]) for line in config.splitlines() if line.startswith("    string_value: ")]
    return {key: {"string_value": value} for key, value in zip(keys, values, strict=True)}


def request(sequence: int, keypoints: F32, t_s: float, bits: int = 0) -> Request:
    return Request(sequence, bits, {"keypoints": keypoints[None], "time_s": np.array([[t_s]])})


def test_poses_are_those_of_the_package(
    backend: TritonPythonModel, retention_artefact: Path, walker_keypoints: Callable[..., F32]
) -> None:
    walk, own = walker_keypoints(5), load(retention_artefact).stream()
    for i in range(5):
        response = backend.execute([request(5, walk[i], i * 0.02, START if i == 0 else 0)])[0]
        expected = own.step(walk[i], t=i * 0.02)
        np.testing.assert_array_equal(response.arrays["pose"][0], expected.xyz_m)
        np.testing.assert_array_equal(response.arrays["score"][0], expected.score)
        assert response.arrays["times_s"].tolist() == [[expected.t_s, expected.dt_s]]
    assert read_manifest(retention_artefact).preset == "tiny-retention"


def test_a_refusal_is_that_request_s_error_and_is_counted(
    backend: TritonPythonModel, walker_keypoints: Callable[..., F32]
) -> None:
    walk = walker_keypoints(1)
    bad = walk[0].copy()
    bad[3, 0] = np.nan
    good, refused = backend.execute([request(1, walk[0], 0.0, START), request(2, bad, 0.0, START)])
    assert good.error is None and str(refused.error).startswith("frame refused: joint 3")
    assert Family.values == {
        "posemoe_edge_people": 2,
        "posemoe_edge_refused_frames": 1,
        "posemoe_edge_expired_people": 0,
    }


@pytest.mark.parametrize(
    ("arrays", "bits", "words"),
    [
        ({"reset": np.array([[True]])}, START, "without keypoints"),
        ({"keypoints": np.zeros((1, 17, 3), np.float32)}, START, "without time_s"),
        ({"keypoints": np.zeros((2, 17, 3), np.float32), "time_s": np.zeros((2, 1))}, START, "2 frames"),
    ],
)
def test_a_request_that_is_no_frame_is_refused(
    backend: TritonPythonModel, arrays: dict[str, NDArray[Any]], bits: int, words: str
) -> None:
    assert words in str(backend.execute([Request(1, bits, arrays)])[0].error)


def test_a_goodbye_without_keypoints_frees_the_stream(backend: TritonPythonModel, walker_keypoints: Callable[..., F32]) -> None:
    backend.execute([request(1, walker_keypoints(1)[0], 0.0, START)])
    response = backend.execute([Request(1, END, {"reset": np.array([[False]])})])[0]
    assert response.error is None and response.arrays == {} and Family.values["posemoe_edge_people"] == 0
