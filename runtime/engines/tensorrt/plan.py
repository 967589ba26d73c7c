"""Plans: the bytes that TensorRT compiled for one GPU, each with a side-car that records its graph and its machine.

A plan file holds the builder's bytes alone; ``step.fp16.b1-1-8.trt11.4.sm87.json`` beside it holds the key. Plans are built
after the artefact and on another machine, so the manifest does not list them: the side-car has the hashes of plan and graph.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...artefact.files import FileRecord, read_checked, record_bytes, sha256
from ...artefact.locate import ZOO
from ...artefact.manifest import Graph, Manifest
from ...artefact.precision import Precision
from ...artefact.record import Record, read_record
from ...artefact.transaction import commit, locked
from ...cache import cache_folder
from ...command_line import command_line
from ...errors import ArtefactError, MissingError

PLAN_SCHEMA = 1
FOLDER = "engines"
SHORT = {"tensorrt": "trt", "tensorrt-rtx": "rtx"}

EngineName = Literal["tensorrt", "tensorrt-rtx"]
Streams = tuple[int, int, int]  # minimum, typical, maximum number of streams of one launch


class Machine(Record):
    """What runs a plan: the library's ``version``, the GPU's ``capability`` as sm87, the ``platform`` as linux-aarch64."""

    engine: EngineName
    version: str
    capability: str
    platform: str


class BuildKey(Record):
    """What a plan was built from and for. Two builds with one key differ in bytes, but not in what they compute.

    Args:
        engine: the library that built it.
        version: of that library, complete: another version does not read the plan.
        graph, graph_sha256: the ONNX file.
        precision: of the graph.
        capabilities: the GPUs that the plan runs on, e.g. ``sm87``: the builder's own, or for TensorRT for RTX the requested
            targets.
        platform: operating system and processor, e.g. ``linux-aarch64``.
        streams: the least, the typical and the largest number of streams of a launch.
        flags: the builder's other settings.
    """

    engine: EngineName
    version: str
    graph: str
    graph_sha256: str
    precision: Precision
    capabilities: tuple[str, ...]
    platform: str
    streams: Streams
    flags: tuple[str, ...]

    @property
    def file(self) -> str:
        """The plan's file name: graph, streams, version and GPUs, so that plans for several machines can share a folder."""
        min_rows, opt_rows, max_rows = self.streams
        rows = f"b{max_rows}" if min_rows == max_rows else f"b{min_rows}-{opt_rows}-{max_rows}"
        version = ".".join(self.version.split(".")[:2])
        graph = self.graph.removesuffix(".onnx")
        return f"{graph}.{rows}.{SHORT[self.engine]}{version}.{'-'.join(self.capabilities)}.engine"


class SideCar(Record):
    """The file beside a plan.

    Args:
        schema_version: of this record.
        key: what the plan was built from and for.
        plan: the file that TensorRT made.
        seconds: how long the build took.
    """

    schema_version: int
    key: BuildKey
    plan: FileRecord
    seconds: float


@dataclass(frozen=True)
class Plan:
    """A plan file, its key, the record of its size and hash, and the artefact that its graph belongs to."""

    path: Path
    key: BuildKey
    record: FileRecord
    artefact: Path

    def read(self) -> bytes:
        """Its bytes.

        Raises:
            ArtefactError: the file is missing, or its size or hash differs from the side-car's record.
        """
        run = command_line("build", self.artefact, "--engine", self.key.engine, "--precision", self.key.precision, "--force")
        return read_checked(self.path, self.record, source="its side-car", run=run)


def find_plan(folder: Path, manifest: Manifest, graph: Graph, *, machine: Machine, streams: int | None = None) -> Plan:
    """The plan of a graph that runs on a machine, from the artefact's ``engines`` folder or the cache.

    Args:
        folder: the artefact.
        machine: the machine that will run it.
        streams: the maximum number of rows of a launch; None selects the plan with the largest maximum.

    Raises:
        MissingError: there is no plan of this graph.
        ArtefactError: there are plans, and none fits; the message names the fields that differ and the command to run.
    """
    sha256_of_graph = graph_sha256(folder, manifest, graph)
    run = build_command(folder, graph, machine, streams)
    fitting, rejected = [], []
    for path in _side_cars(folder, sha256_of_graph, graph):
        try:
            plan = read_plan(path, folder)
        except ArtefactError as error:
            rejected.append(error.what)
            continue
        differing = differences(plan.key, machine, graph_sha256=sha256_of_graph, streams=streams)
        if differing:
            rejected.append(f"{plan.path.name} does not fit: {', '.join(differing)}")
        else:
            fitting.append(plan)
    if not fitting and rejected:
        raise ArtefactError("; ".join(rejected), expected=f"a plan of {graph.file} for this machine", run=run)
    if not fitting:
        folders = " or ".join(map(str, _plan_folders(folder, sha256_of_graph)))
        raise MissingError(f"there is no plan of {graph.file} for {machine.engine}", expected=f"one in {folders}", run=run)
    by_capacity = sorted(fitting, key=lambda plan: plan.key.streams[2])
    return by_capacity[-1] if streams is None else by_capacity[0]


def plans_of(folder: Path, manifest: Manifest, graph: Graph, engine: EngineName) -> list[Plan]:
    """All plans of this graph for that engine, for whatever machines; those that cannot be read are left out."""
    of_graph, found = graph_sha256(folder, manifest, graph), []
    for path in _side_cars(folder, of_graph, graph):
        with suppress(ArtefactError):
            found.append(read_plan(path, folder))
    return [plan for plan in found if (plan.key.engine, plan.key.graph_sha256) == (engine, of_graph)]


def has_plans(folder: Path, manifest: Manifest, graph: Graph, engine: EngineName) -> bool:
    """Whether there are plans of a graph for that engine, judged by file names: they need not fit this machine."""
    side_cars = _side_cars(folder, graph_sha256(folder, manifest, graph), graph)
    return any(f".{SHORT[engine]}" in path.name for path in side_cars)


def differences(key: BuildKey, machine: Machine, *, graph_sha256: str, streams: int | None = None) -> list[str]:
    """For each field of a plan's key that prevents it from running this graph on a machine, a clause; empty if it fits."""
    words = []
    if key.engine != machine.engine:
        words.append(f"it was built by {key.engine}, and {machine.engine} is to run it")
    elif key.version != machine.version:
        words.append(f"version: built by {key.engine} {key.version}, this machine has {machine.version}")
    if key.graph_sha256 != graph_sha256:
        words.append(f"graph: built of sha256 {key.graph_sha256[:12]}..., this one is {graph_sha256[:12]}...")
    if machine.capability not in key.capabilities:
        words.append(f"GPU: built for {', '.join(key.capabilities)}, this machine has {machine.capability}")
    if key.platform != machine.platform:
        words.append(f"platform: built for {key.platform}, this machine is {machine.platform}")
    if streams is not None and not key.streams[0] <= streams <= key.streams[2]:
        words.append(f"streams: built for {key.streams[0]} to {key.streams[2]}, requested {streams}")
    return words


def read_plan(side_car: Path, artefact: Path) -> Plan:
    """The plan that a side-car describes; the plan's own bytes are checked when they are read."""
    run = command_line("build", artefact, "--force")
    record = read_record(
        SideCar,
        side_car.read_bytes(),
        place=str(side_car),
        noun="a side-car of a plan",
        version=PLAN_SCHEMA,
        migrations={},
        run=run,
    )
    return Plan(side_car.with_suffix(".engine"), record.key, record.plan, artefact)


def write_plan(artefact: Path, key: BuildKey, plan: bytes, *, seconds: float) -> Plan:
    """Write a plan and its side-car to ``plans_folder``. A kill in between leaves the plan that was there before."""
    folder = plans_folder(artefact, key.graph_sha256)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / key.file
    record = record_bytes(plan)
    side_car = SideCar(schema_version=PLAN_SCHEMA, key=key, plan=record, seconds=round(seconds, 2))
    with locked(folder):
        commit(
            path.with_suffix(".json"),
            side_car.model_dump_json(indent=1).encode(),
            {path.name: plan},
            before=_records(path.with_suffix(".json"), artefact),
            after={path.name: record},
        )
    return Plan(path, key, record, artefact)


def drop_stale_plans(artefact: Path, manifest: Manifest) -> None:
    """Delete an artefact's own plans that are of none of its graphs."""
    graphs = {record.sha256 for record in manifest.files.values()}
    for side_car in sorted((artefact / FOLDER).glob("*.json")):
        try:
            plan = read_plan(side_car, artefact)
        except ArtefactError:
            continue
        if plan.key.graph_sha256 not in graphs:
            side_car.unlink()
            plan.path.unlink(missing_ok=True)


def plans_folder(folder: Path, graph_sha256: str) -> Path:
    """The folder for plans of a graph: in the artefact, or the cache if the artefact is shipped or cannot be written to."""
    own, cached = _plan_folders(folder, graph_sha256)
    shipped = folder.resolve().is_relative_to(ZOO.resolve())
    return cached if shipped or not os.access(folder, os.W_OK) else own


def graph_sha256(folder: Path, manifest: Manifest, graph: Graph) -> str:
    """The graph's hash according to the manifest; for a standalone ONNX file, which has no list of files, computed."""
    if graph.file in manifest.files:
        return manifest.files[graph.file].sha256
    return sha256(folder if folder.is_file() else folder / graph.file)


def build_command(folder: Path, graph: Graph, machine: Machine, streams: int | None = None) -> str:
    """The command that builds the missing plan."""
    command = command_line("build", folder, "--engine", machine.engine, "--precision", graph.precision)
    if machine.engine == "tensorrt-rtx":
        command += f" --target {machine.capability}"
    return command if streams is None else f"{command} --streams 1,{streams},{streams}"


def this_platform() -> str:
    """The platform as keys name it: linux-x86_64, linux-aarch64."""
    return f"{sys.platform}-{platform.machine()}".lower()


def _plan_folders(folder: Path, graph_sha256: str) -> tuple[Path, Path]:
    """The artefact's folder of plans, and the cache's folder for that graph."""
    home = folder.parent if folder.is_file() else folder
    return home / FOLDER, cache_folder() / FOLDER / graph_sha256[:16]


def _records(side_car: Path, artefact: Path) -> dict[str, FileRecord]:
    """What a side-car says of its plan; nothing if it is absent or cannot be read."""
    try:
        plan = read_plan(side_car, artefact)
    except (ArtefactError, FileNotFoundError):
        return {}
    return {plan.path.name: plan.record}


def _side_cars(folder: Path, graph_sha256: str, graph: Graph) -> Iterator[Path]:
    """The side-cars of the graph by their names, the artefact's own first."""
    for plans in _plan_folders(folder, graph_sha256):
        yield from sorted(plans.glob(f"{graph.file.removesuffix('.onnx')}.*.json"))
