"""The manifest: what an artefact is, and what its files must be."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import Field

from ..errors import ArtefactError, MissingError
from ..pose.skeleton import H36M_ORDERS
from .atomic import sha256, write_atomically, write_together
from .migrations import MANIFEST_MIGRATIONS
from .precision import Precision
from .record import Record, read_record

MANIFEST_SCHEMA = 2
MANIFEST = "manifest.json"

Mode = Literal["step", "chunk", "window"]


class Tensor(Record):
    """An input or output of a graph: its axes by name, its shape with ``B`` for the free batch axis, always the first."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    axes: tuple[str, ...]
    meaning: str


class State(Record):
    """A state that is carried from frame to frame: read from ``input``, written to ``output``, never to the same memory."""

    input: str
    output: str
    dtype: str
    shape: tuple[int | str, ...]
    axes: tuple[str, ...]
    initial: Literal["zeros"]
    reset: str


class Graph(Record):
    """One ONNX file: a mode at a precision. One launch takes ``frames``: 1 in mode step, T_s of a chunk, T of a window."""

    file: str
    mode: Mode
    precision: Precision
    opset: int
    frames: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    states: tuple[State, ...]
    fp32_nodes: str


class FileRecord(Record):
    """What a file of the artefact must be."""

    sha256: str
    bytes: int


class Manifest(Record):
    """Everything a runtime has to know, and nothing it would have to guess."""

    schema_version: int
    preset: str
    mixer: str
    mode: Mode
    config: dict[str, Any]
    parameters: int
    skeleton: str
    keypoint_recipe: str
    channels: int
    normalisation: str
    units: str
    axes: str
    fps: float = Field(gt=0)
    latency_frames: int = Field(ge=0)
    graphs: tuple[Graph, ...]
    files: dict[str, FileRecord]
    versions: dict[str, str]
    training: dict[str, Any]
    preferred: Precision = "fp32"

    def graph(self, precision: Precision | None = None) -> Graph:
        """The graph of that precision; None is the preferred one, or what there is."""
        by_precision = {graph.precision: graph for graph in self.graphs}
        if precision is None:
            return by_precision.get(self.preferred, self.graphs[0])
        if precision not in by_precision:
            raise ArtefactError(
                f"the artefact {self.preset} has no {precision} graph",
                expected=f"one of {', '.join(by_precision)}",
                run=f"posemoe-edge export {self.preset} --precision {precision}",
            )
        return by_precision[precision]

    @property
    def metric(self) -> bool:
        """Whether poses are in metres; official MotionBERT weights answer in units of the image."""
        return self.units.startswith("metres")

    @property
    def state_bytes(self) -> int:
        """What one stream carries from frame to frame, in bytes."""
        total = 0
        for state in self.graphs[0].states:
            size = 4
            for axis in state.shape[1:]:
                size *= int(axis)
            total += size
        return total


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an artefact folder; what is wrong with it is an ArtefactError that names the field."""
    path = folder / MANIFEST
    if not folder.is_dir():
        raise MissingError(
            f"there is no artefact at {folder}", expected=f"a folder with a {MANIFEST}", run="posemoe-edge export"
        )
    if not path.is_file():
        raise ArtefactError(
            f"{folder} has no {MANIFEST}", expected="a whole artefact: it is written last", run="posemoe-edge export"
        )
    return parse_manifest(path.read_bytes(), str(path))


def parse_manifest(text: str | bytes, place: str) -> Manifest:
    """A manifest from its JSON, checked field by field."""
    again = "posemoe-edge export"
    manifest = read_record(
        Manifest, text, place=place, noun="a manifest", version=MANIFEST_SCHEMA, migrations=MANIFEST_MIGRATIONS, run=again
    )
    for name in (*manifest.files, *(graph.file for graph in manifest.graphs)):
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or "\\" in name:
            raise ArtefactError(
                f"{place}: files: {name!r} leaves the artefact's folder", expected="a name inside it", run=again
            )
    if manifest.skeleton not in H36M_ORDERS:
        raise ArtefactError(
            f"{place}: field skeleton: {manifest.skeleton!r} is not known", expected=" or ".join(H36M_ORDERS), run=again
        )
    for graph in manifest.graphs:
        _check_graph(manifest, graph, place)
    if not manifest.graphs:
        raise ArtefactError(f"{place}: graphs: there are none", expected="at least one", run=again)
    return manifest


def _check_graph(manifest: Manifest, graph: Graph, place: str) -> None:
    """Its record, its states and the shapes of what it takes and answers are those of its mode."""

    def refuse(what: str, expected: str) -> ArtefactError:
        return ArtefactError(f"{place}: graphs: {graph.file} {what}", expected=expected, run="posemoe-edge export")

    if manifest.files and graph.file not in manifest.files:
        raise refuse("is not among the files", "a record of every file")
    if (graph.mode == "window") == bool(graph.states):
        raise refuse(f"of mode {graph.mode} has {len(graph.states)} states", "states in a step or chunk graph, and only there")
    if manifest.latency_frames >= graph.frames:
        raise refuse(f"takes {graph.frames} frames", f"more than the latency_frames, {manifest.latency_frames}")
    frames = () if graph.mode == "step" else (graph.frames,)
    joints = len(H36M_ORDERS[manifest.skeleton])
    takes: list[tuple[int | str, ...]] = [("B", *frames, joints, manifest.channels)]
    answers: list[tuple[int | str, ...]] = [("B", *frames, joints, 3)]
    if graph.mode == "window":
        answers.append(("B", 1, joints, 3))  # one frame's pose alone
    for name, tensors, allowed in (("keypoints", graph.inputs, takes), ("pose", graph.outputs, answers)):
        shape = next((tensor.shape for tensor in tensors if tensor.name == name), None)
        if shape not in allowed:
            raise refuse(f"of mode {graph.mode} has {name} of shape {shape}", " or ".join(map(str, allowed)))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest, atomically; the files that it names are there already."""
    write_atomically(folder / MANIFEST, manifest.model_dump_json(indent=1).encode())


def replace_files(folder: Path, manifest: Manifest, files: Mapping[str, bytes], *, drop: Collection[str] = ()) -> Manifest:
    """Write files of an artefact and the manifest that vouches for them; at every moment the artefact is valid.

    Args:
        manifest: as it shall be, but for the records of these files.
        files: what to write, by name.
        drop: names of files that go.
    """
    kept = {name: record for name, record in manifest.files.items() if name not in files and name not in drop}
    before = tuple(graph for graph in manifest.graphs if graph.file in kept)
    write_manifest(folder, manifest.model_copy(update={"files": kept, "graphs": before}))
    write_together({folder / name: data for name, data in files.items()})
    manifest = manifest.model_copy(update={"files": kept | {name: record_file(folder / name) for name in files}})
    write_manifest(folder, manifest)
    for name in set(drop) - set(files):
        (folder / name).unlink(missing_ok=True)
    return manifest


def record_file(path: Path) -> FileRecord:
    """What the file is now."""
    return FileRecord(sha256=sha256(path), bytes=path.stat().st_size)


def read_graph(path: Path) -> tuple[Manifest, Graph]:
    """The manifest in a graph's folder, and its record of that file."""
    manifest = read_manifest(path.parent)
    graph = next((graph for graph in manifest.graphs if graph.file == path.name), None)
    if graph is None:
        raise ArtefactError(f"{path} is no graph of its folder's manifest", expected="a graph of an artefact")
    return manifest, graph


def check_file(folder: Path, manifest: Manifest, name: str) -> Path:
    """The file's path, if it is what the manifest says; otherwise an ArtefactError that says how it differs."""
    record, path = manifest.files[name], folder / name
    again = f"posemoe-edge export {manifest.preset}"
    if not path.is_file():
        raise ArtefactError(f"{path} is missing", expected="every file that the manifest names", run=again)
    if path.stat().st_size != record.bytes:
        raise ArtefactError(
            f"{path} has {path.stat().st_size} bytes", expected=f"{record.bytes}, as the manifest says", run=again
        )
    found = sha256(path)
    if found != record.sha256:
        raise ArtefactError(
            f"{path} was changed: its sha256 is {found[:12]}...", expected=f"{record.sha256[:12]}...", run=again
        )
    return path
