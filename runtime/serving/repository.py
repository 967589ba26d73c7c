"""A Triton model repository of an artefact: a folder for each graph, each set of plans, and the model of people."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..artefact.atomic import draft_folder, sync_folder
from ..artefact.certificate import Certificate, Drift, failed_certificate, read_certificate
from ..artefact.external_data import refuse_external_data
from ..artefact.locate import find_artefact
from ..artefact.manifest import MANIFEST, Graph, Manifest, read_file, read_graph_file, read_manifest
from ..artefact.metadata import read_embedded_manifest
from ..artefact.precision import Precision
from ..artefact.signature import SIGNATURE
from ..engines.tensorrt.plan import Plan, graph_sha256, plans_of
from ..errors import UsageError, missing_folder
from .config import HEADER, ServingLimits, graph_config, people_config, plan_config

CONFIG = "config.pbtxt"
VERSION = "1"
ARTEFACT = "artefact"

_MODEL_PY = '''"""Keeps a stream for each person: written by posemoe-edge, whose package the server's Python must find."""

import os
import sys

# Some builds of the Python backend start their interpreter without looking at PYTHONPATH.
sys.path[:0] = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place and place not in sys.path]

from posemoe_edge.runtime.serving.python_backend import TritonPythonModel

__all__ = ["TritonPythonModel"]
'''


@dataclass(frozen=True)
class ModelFolder:
    """A model of a repository.

    Args:
        backend: of Triton, that runs it: "onnxruntime", "tensorrt" or "python".
        what: in words.
        config: the content of its ``config.pbtxt``.
        files: the files of its version, by their place in it.
    """

    name: str
    backend: str
    what: str
    config: str
    files: dict[str, bytes]


def write_repository(
    artefact: str | Path | None,
    out: Path,
    *,
    limits: ServingLimits | None = None,
    precision: Precision | None = None,
    allow_failed: bool = False,
    instances: int = 1,
) -> tuple[ModelFolder, ...]:
    """Write the models of an artefact into a repository. Other models there stay; of this preset the old ones go.

    Args:
        artefact: a folder, a standalone graph, or the name of a shipped one; None is the default.
        out: the repository; its folder is made, the one around it must exist.
        precision: of the graph that the model of people runs; None is the preferred one.
        allow_failed: also write graphs whose drift certificate failed.
        instances: processes of the model of people.

    Returns:
        The models, the one of people first.

    Raises:
        MissingError: there is no such artefact, or no folder for the repository.
        ArtefactError: the artefact is incomplete or was changed.
        CheckFailedError: the graph for people failed its certificate.
        UsageError: a folder in the place of a model is not ours.
    """
    place = find_artefact(artefact)
    models = tuple(
        _models(place, limits or ServingLimits(), precision=precision, allow_failed=allow_failed, instances=instances)
    )
    if not out.parent.is_dir():
        raise missing_folder(out.parent)
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file", expected="a folder for the models")
    for model in models:
        if (out / model.name).exists() and not is_ours(out / model.name):
            raise UsageError(
                f"{out / model.name} was not written by posemoe-edge, and is not replaced", expected="another --out"
            )
    out.mkdir(exist_ok=True)
    header = models[0].config.splitlines()[0]
    for folder in out.iterdir():
        if folder.name not in {model.name for model in models} and _header(folder) == header:
            shutil.rmtree(folder)
    for model in models:
        _write(out, model)
    return models


def is_ours(folder: Path) -> bool:
    """Whether a folder of a repository is a model that was written here."""
    return _header(folder).startswith(HEADER)


def _header(folder: Path) -> str:
    """The first line of a model's configuration; empty without one."""
    config = folder / CONFIG
    if not config.is_file():
        return ""
    return config.read_text(errors="replace").partition("\n")[0]


def _models(
    place: Path, limits: ServingLimits, *, precision: Precision | None, allow_failed: bool, instances: int
) -> Iterator[ModelFolder]:
    """The models of an artefact, the one of people first; with ``allow_failed`` also those that failed their certificate."""
    standalone = place.is_file()
    manifest = read_embedded_manifest(place) if standalone else read_manifest(place)
    certificate = None if standalone else read_certificate(place, manifest)
    graph = manifest.graph(precision)
    drift = _drift(certificate, graph, "onnxruntime")
    if drift and not drift.passed and not allow_failed:
        raise failed_certificate(place, manifest.preset, drift)
    yield ModelFolder(
        manifest.preset,
        "python",
        f"people, by {graph.precision}: a stream for each correlation id",
        people_config(
            manifest.preset,
            manifest,
            graph,
            limits,
            identity=graph_sha256(place, manifest, graph),
            artefact=f"{ARTEFACT}.onnx" if standalone else ARTEFACT,
            allow_failed=allow_failed,
            instances=instances,
        ),
        {"model.py": _MODEL_PY.encode(), **_artefact_files(place, manifest)},
    )
    for graph in manifest.graphs:
        state = "implicit state" if graph.states else "windows without a state"
        drift = _drift(certificate, graph, "onnxruntime")
        if drift is None or drift.passed or allow_failed:
            name = f"{manifest.preset}_{graph.precision}"
            content = _standalone(place) if standalone else read_graph_file(place, manifest, graph)
            config = graph_config(name, manifest, graph, limits)
            yield ModelFolder(name, "onnxruntime", f"{graph.precision}, {state}", config, {graph.file: content})
        drift = _drift(certificate, graph, "tensorrt")
        plans = _plans_by_capability(place, manifest, graph)
        if plans and (drift is None or drift.passed or allow_failed):
            name = f"{manifest.preset}_{graph.precision}_tensorrt"
            config = plan_config(name, manifest, graph, plans, limits)
            files = {plan.path.name: plan.read() for plan in plans.values()}
            what = f"{graph.precision}, {state}, plans for GPUs of {', '.join(plans)}"
            yield ModelFolder(name, "tensorrt", what, config, files)


def _drift(certificate: Certificate | None, graph: Graph, engine: str) -> Drift | None:
    return None if certificate is None else certificate.drift_for(graph.precision, engine)


def _artefact_files(place: Path, manifest: Manifest) -> dict[str, bytes]:
    """All files of an artefact as the manifest's hashes say, so that the copy is an artefact, and a signed one stays signed."""
    if place.is_file():
        return {f"{ARTEFACT}.onnx": _standalone(place)}
    files = {name: read_file(place, manifest, name) for name in manifest.files}
    files |= {name: (place / name).read_bytes() for name in (MANIFEST, SIGNATURE) if (place / name).is_file()}
    return {f"{ARTEFACT}/{name}": content for name, content in files.items()}


def _standalone(path: Path) -> bytes:
    content = path.read_bytes()
    refuse_external_data(content, str(path))
    return content


def _plans_by_capability(place: Path, manifest: Manifest, graph: Graph) -> dict[str, Plan]:
    """The plan for each kind of GPU, by its compute capability, "8.7": of the newest TensorRT, with the most people."""

    def rank(plan: Plan) -> tuple[list[int], int]:
        return [int(part) for part in plan.key.version.split(".") if part.isdigit()], plan.key.streams[2]

    found = plans_of(place, manifest, graph, "tensorrt")
    best: dict[str, Plan] = {}
    for plan in sorted(found, key=rank):
        if plan.key.streams[0] == 1:  # Triton also launches one person alone
            for capability in plan.key.capabilities:
                number = capability.removeprefix("sm")
                best[f"{number[:-1]}.{number[-1]}"] = plan
    return best


def _write(repository: Path, model: ModelFolder) -> None:
    """Put a model in its place. A kill leaves the old one, the new one or, between two renames, none."""
    target = repository / model.name
    with draft_folder(repository, model.name) as draft:
        for name, content in model.files.items():
            path = draft / VERSION / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        (draft / CONFIG).write_text(model.config)
        if target.exists():
            target.rename(draft.with_name(f"{model.name}.old"))
        draft.rename(target)
        sync_folder(repository)
