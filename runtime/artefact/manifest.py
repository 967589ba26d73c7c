"""The manifest: what an artefact is, the interface of its graphs, and the hashes of its files."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import prod
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import Field

from ..command_line import command_line
from ..errors import ArtefactError, MissingError
from ..file_kind import check_stand_in
from ..pose.keypoints import View
from ..pose.skeleton import H36M_ORDERS
from .atomic import write_atomically
from .external_data import refuse_external_data
from .files import FileRecord, read_checked, record_bytes, record_file
from .graph_parts import AppliedPass, State, Tensor
from .migrations import MANIFEST_MIGRATIONS
from .precision import PRECISIONS, Precision
from .record import Record, read_record
from .room import check_room
from .signature import check_signature, check_unsigned
from .transaction import commit, locked

MANIFEST_SCHEMA = 3
MANIFEST = "manifest.json"
_MADE_BY = {"certificate.json": "verify", "certificate.png": "verify", "calibration.json": "calibrate"}  # others: export

POSE_WITH_SIGMA = 4  # numbers of a joint in the output "pose": x, y, z and the standard deviation, metres

Mode = Literal["step", "chunk", "window"]


class Graph(Record):
    """One ONNX file.

    Args:
        file: its name in the artefact.
        mode: ``step`` is one frame and a state, ``chunk`` some frames and a state, ``window`` frames and no state.
        precision: of the products with weights.
        opset: the version of ONNX's operators.
        frames: of each stream in one launch: 1 in mode step, T_s in mode chunk, T in mode window.
        inputs, outputs: its tensors.
        states: which output is the next frame's input.
        fp32_nodes: which parts compute in float32, in words.
        passes: what was applied to the traced graph, in order.
    """

    file: str
    mode: Mode
    precision: Precision
    opset: int
    frames: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    states: tuple[State, ...]
    fp32_nodes: str
    passes: tuple[AppliedPass, ...] = ()


class Manifest(Record):
    """All that a runtime needs to know about an artefact.

    Args:
        schema_version: of this record.
        preset: the name of its configuration, e.g. ``posemoe-retention-s``.
        mixer: what mixes over time: ``attention``, ``retention``, ``dssm`` or ``none``.
        mode: of its graphs.
        config: the network's configuration, in full.
        parameters: number of weights.
        skeleton: the order of the graphs' joints.
        keypoint_recipe: how COCO-17 keypoints become Human3.6M-17.
        view: how keypoints are normalised: by the picture's size (``image``) or by the camera (``person``).
        channels: of a keypoint: 3 are x, y, score, and 2 are x, y.
        normalisation: the formula of the 2D input.
        units: of poses and times, in words.
        axes: of the camera, in which poses are, in words.
        fps: nominal frame rate: the first frame's dt is 1 / fps.
        latency_frames: how many frames a pose lies behind the newest frame.
        graphs: the ONNX files.
        files: by its name, every file but the manifest.
        versions: of the packages that exported it.
        training: how the weights were trained.
        preferred: the precision that the runtime chooses where none is asked for.
    """

    schema_version: int
    preset: str
    mixer: str
    mode: Mode
    config: dict[str, Any]
    parameters: int
    skeleton: str
    keypoint_recipe: str
    view: View
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
        """The graph of a precision; None is the preferred precision, or the first graph if that one has no graph.

        Raises:
            ArtefactError: the artefact has no graph of that precision.
        """
        by_precision = {graph.precision: graph for graph in self.graphs}
        if precision is None:
            return by_precision.get(self.preferred, self.graphs[0])
        if precision not in by_precision:
            raise ArtefactError(
                f"the artefact {self.preset} has no {precision} graph",
                expected=f"one of {', '.join(by_precision)}",
                run=command_line("export", self.preset, "--precision", precision) if precision in PRECISIONS else None,
            )
        return by_precision[precision]

    @property
    def metric(self) -> bool:
        """Whether poses are in metres. Official MotionBERT weights give poses in units of the image."""
        return self.units.startswith("metres")

    @property
    def has_sigma(self) -> bool:
        """Whether the graphs give a standard deviation with each joint: a fourth number after x, y and z."""
        return self.graphs[0].outputs[0].shape[-1] == POSE_WITH_SIGMA

    @property
    def state_bytes(self) -> int:
        """Size of the state that one stream carries from frame to frame, in bytes."""
        return sum(4 * prod(map(int, state.shape[1:])) for state in self.graphs[0].states)  # float32


def read_manifest(folder: Path, *, signed_by: Path | None = None) -> Manifest:
    """The manifest of an artefact's folder.

    Args:
        signed_by: the file of a public key; None takes an artefact that nobody signed, too.

    Raises:
        CheckFailedError: it is not signed by that key.
        MissingError: there is no such folder.
        ArtefactError: the folder has no manifest, or a field of it is wrong; the message names the field.
    """
    path = folder / MANIFEST
    if not folder.is_dir():
        raise MissingError(
            f"there is no artefact at {folder}", expected=f"a folder with a {MANIFEST}", run="posemoe-edge export"
        )
    if not path.is_file():
        raise ArtefactError(
            f"{folder} has no {MANIFEST}",
            expected="a complete artefact: the manifest is written last",
            run="posemoe-edge export",
        )
    check_stand_in(path, expected="a manifest", text=True)
    text = path.read_bytes()
    check_signature(path, text, signed_by)
    return parse_manifest(text, str(path))


def parse_manifest(text: str | bytes, place: str) -> Manifest:
    """A manifest from its JSON, with every field checked.

    Args:
        place: the file or entry that holds the text, for error messages.
    """
    run = "posemoe-edge export"
    manifest = read_record(
        Manifest, text, place=place, noun="a manifest", version=MANIFEST_SCHEMA, migrations=MANIFEST_MIGRATIONS, run=run
    )
    for name in (*manifest.files, *(graph.file for graph in manifest.graphs)):
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name:
            raise ArtefactError(f"{place}: files: {name!r} leaves the artefact's folder", expected="a name inside it", run=run)
    if manifest.skeleton not in H36M_ORDERS:
        raise ArtefactError(
            f"{place}: field skeleton: {manifest.skeleton!r} is not known", expected=" or ".join(H36M_ORDERS), run=run
        )
    for graph in manifest.graphs:
        _check_graph(manifest, graph, place)
    if not manifest.graphs:
        raise ArtefactError(f"{place}: graphs: there are none", expected="at least one", run=run)
    return manifest


def _check_graph(manifest: Manifest, graph: Graph, place: str) -> None:
    """Check that a graph's file record, states, inputs and outputs fit its mode."""

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
    keypoints: list[tuple[int | str, ...]] = [("B", *frames, joints, manifest.channels)]
    poses: list[tuple[int | str, ...]] = [("B", *frames, joints, numbers) for numbers in (3, POSE_WITH_SIGMA)]
    if graph.mode == "window":
        poses.append(("B", 1, joints, 3))  # the pose of a single frame
    for name, tensors, allowed in (("keypoints", graph.inputs, keypoints), ("pose", graph.outputs, poses)):
        shape = next((tensor.shape for tensor in tensors if tensor.name == name), None)
        if shape not in allowed:
            raise refuse(f"of mode {graph.mode} has {name} of shape {shape}", " or ".join(map(str, allowed)))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest atomically. The files that it names must exist already."""
    write_atomically(folder / MANIFEST, _as_json(manifest))


def replace_files(
    folder: Path, manifest: Manifest, files: Mapping[str, bytes | Path], *, drop: Collection[str] = ()
) -> Manifest:
    """Change an artefact that nobody else changes: see ``commit_manifest``."""
    with locked(folder):
        return commit_manifest(folder, manifest, files, drop=drop)


def commit_manifest(
    folder: Path, manifest: Manifest, files: Mapping[str, bytes | Path], *, drop: Collection[str] = ()
) -> Manifest:
    """Write files of an artefact and the manifest with their records, all at once, in a folder that is ``locked``.

    Args:
        manifest: the new manifest, except for the records of ``files``; made from the one that was read inside the lock.
        files: name -> content, or a file of the same file system that is moved.
        drop: names of files to delete, beside those that the old manifest names and the new one does not.

    Returns:
        The manifest that was written.
    """
    check_unsigned(folder / MANIFEST)
    before = read_manifest(folder).files if (folder / MANIFEST).is_file() else {}
    unchanged = {name: record for name, record in manifest.files.items() if name not in files and name not in drop}
    records = {name: record_file(data) if isinstance(data, Path) else record_bytes(data) for name, data in files.items()}
    manifest = manifest.model_copy(update={"files": unchanged | records})
    commit(folder / MANIFEST, _as_json(manifest), files, before=before, after=manifest.files)
    return manifest


def check_changeable(folder: Path, need_bytes: int) -> None:
    """Check, before long work, that its result can be written into an artefact: nobody signed it, and there is room."""
    check_unsigned(folder / MANIFEST)
    check_room(folder, need_bytes)


def _as_json(manifest: Manifest) -> bytes:
    return manifest.model_dump_json(indent=1).encode()


def read_graph(path: Path) -> tuple[Manifest, Graph]:
    """The manifest in the folder of a graph's file, and that graph's record in it."""
    manifest = read_manifest(path.parent)
    graph = next((graph for graph in manifest.graphs if graph.file == path.name), None)
    if graph is None:
        raise ArtefactError(f"{path} is no graph of its folder's manifest", expected="a graph of an artefact")
    return manifest, graph


def read_file(folder: Path, manifest: Manifest, name: str) -> bytes:
    """The content of an artefact's file, if it is what the manifest says; otherwise an ArtefactError says how it differs."""
    made_by = _MADE_BY.get(name)
    run = command_line(made_by, folder) if made_by else command_line("export", manifest.preset)
    return read_checked(folder / name, manifest.files[name], source="the manifest", run=run)


def read_graph_file(folder: Path, manifest: Manifest, graph: Graph) -> bytes:
    """An ONNX graph, as ``read_file``; its weights must be inside, so that the hash is of all that is run."""
    content = read_file(folder, manifest, graph.file)
    refuse_external_data(content, str(folder / graph.file))
    return content


def check_file(folder: Path, manifest: Manifest, name: str) -> Path:
    """The path of an artefact's file, which is what the manifest says; see ``read_file`` for what is then used."""
    read_file(folder, manifest, name)
    return folder / name
