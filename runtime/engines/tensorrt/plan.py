"""Plans: graphs that TensorRT compiled for one GPU, each with a side-car that says what it was built of and for.

A plan is pure bytes, as the builder made them; ``step.fp16.b1-1-8.trt11.4.sm87.json`` beside it holds its key. They are made
after the artefact and on another machine, so the manifest does not list them: the side-car vouches for plan and graph.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...artefact.atomic import write_together
from ...artefact.files import FileRecord, read_checked, record_bytes, sha256
from ...artefact.locate import ZOO
from ...artefact.manifest import Graph, Manifest
from ...artefact.precision import Precision
from ...artefact.record import Record, read_record
from ...errors import ArtefactError, MissingError

PLAN_SCHEMA = 1
FOLDER = "engines"
SHORT = {"tensorrt": "trt", "tensorrt-rtx": "rtx"}

EngineName = Literal["tensorrt", "tensorrt-rtx"]
Streams = tuple[int, int, int]  # least, usual, most streams of one launch


class Machine(Record):
    """What runs a plan: ``version`` of the library, ``capability`` of the GPU as sm87, ``platform`` as linux-aarch64."""

    engine: EngineName
    version: str
    capability: str
    platform: str


class BuildKey(Record):
    """What a plan was built of and for. Two builds of one key give plans that differ in bytes and not in meaning.

    ``capabilities`` are the GPUs that it runs on: the builder's own, or for TensorRT for RTX those that were asked for.
    ``flags`` are what else the builder was told.
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
        """The plan's name: graph, streams, version and GPUs, so that plans for several machines lie side by side."""
        least, usual, most = self.streams
        rows = f"b{most}" if least == most else f"b{least}-{usual}-{most}"
        version = ".".join(self.version.split(".")[:2])
        graph = self.graph.removesuffix(".onnx")
        return f"{graph}.{rows}.{SHORT[self.engine]}{version}.{'-'.join(self.capabilities)}.engine"


class SideCar(Record):
    """The file beside a plan."""

    schema_version: int
    key: BuildKey
    plan: FileRecord
    seconds: float


@dataclass(frozen=True)
class Plan:
    """A plan on the disk, what it is, and the artefact whose graph it is of."""

    path: Path
    key: BuildKey
    record: FileRecord
    artefact: Path

    def read(self) -> bytes:
        """Its bytes, if they are those that were built."""
        run = f"posemoe-edge build {self.artefact} --engine {self.key.engine} --precision {self.key.precision} --force"
        return read_checked(self.path, self.record, source="its side-car", run=run)


def find_plan(folder: Path, manifest: Manifest, graph: Graph, *, here: Machine, streams: int | None = None) -> Plan:
    """The plan of a graph that runs here, from the artefact's ``engines`` or the cache.

    Args:
        folder: the artefact.
        here: the machine that will run it.
        streams: how many rows a launch will have at most; None takes the plan with most room.

    Raises:
        MissingError: there is no plan of this graph.
        ArtefactError: there are plans, and none fits: which field differs, and what to run.
    """
    wanted = graph_sha256(folder, manifest, graph)
    run = build_command(folder, graph, here, streams)
    found, trouble = [], []
    for path in _side_cars(folder, wanted, graph):
        try:
            plan = read_plan(path, folder)
        except ArtefactError as error:
            trouble.append(error.what)
            continue
        differs = differences(plan.key, here, graph_sha256=wanted, streams=streams)
        if differs:
            trouble.append(f"{plan.path.name} does not fit: {', '.join(differs)}")
        else:
            found.append(plan)
    if not found and trouble:
        raise ArtefactError("; ".join(trouble), expected=f"a plan of {graph.file} for this machine", run=run)
    if not found:
        places = " or ".join(str(place) for place in _places(folder, wanted))
        raise MissingError(f"there is no plan of {graph.file} for {here.engine}", expected=f"one in {places}", run=run)
    room = sorted(found, key=lambda plan: plan.key.streams[2])
    return room[-1] if streams is None else room[0]


def has_plans(folder: Path, manifest: Manifest, graph: Graph, engine: EngineName) -> bool:
    """Whether there are plans of a graph for that engine, by their names alone: they may fit this machine or not."""
    side_cars = _side_cars(folder, graph_sha256(folder, manifest, graph), graph)
    return any(f".{SHORT[engine]}" in path.name for path in side_cars)


def differences(key: BuildKey, here: Machine, *, graph_sha256: str, streams: int | None = None) -> list[str]:
    """Which fields of a plan's key keep it from running this graph here, in words; none if it fits."""
    words = []
    if key.engine != here.engine:
        words.append(f"it was built by {key.engine}, and {here.engine} is to run it")
    elif key.version != here.version:
        words.append(f"version: built by {key.engine} {key.version}, here is {here.version}")
    if key.graph_sha256 != graph_sha256:
        words.append(f"graph: built of sha256 {key.graph_sha256[:12]}..., this one is {graph_sha256[:12]}...")
    if here.capability not in key.capabilities:
        words.append(f"GPU: built for {', '.join(key.capabilities)}, here is {here.capability}")
    if key.platform != here.platform:
        words.append(f"platform: built for {key.platform}, here is {here.platform}")
    if streams is not None and not key.streams[0] <= streams <= key.streams[2]:
        words.append(f"streams: built for {key.streams[0]} to {key.streams[2]}, asked for {streams}")
    return words


def read_plan(side_car: Path, artefact: Path) -> Plan:
    """The plan beside a side-car; the plan's own bytes are checked when they are read."""
    run = f"posemoe-edge build {artefact} --force"
    found = read_record(
        SideCar,
        side_car.read_bytes(),
        place=str(side_car),
        noun="a side-car of a plan",
        version=PLAN_SCHEMA,
        migrations={},
        run=run,
    )
    return Plan(side_car.with_suffix(".engine"), found.key, found.plan, artefact)


def write_plan(artefact: Path, key: BuildKey, plan: bytes, *, seconds: float) -> Plan:
    """Write a plan and its side-car where plans of that artefact go: both or, if that is interrupted, none that is believed."""
    folder = plans_folder(artefact, key.graph_sha256)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / key.file
    record = record_bytes(plan)
    side_car = SideCar(schema_version=PLAN_SCHEMA, key=key, plan=record, seconds=round(seconds, 2))
    write_together({path: plan, path.with_suffix(".json"): side_car.model_dump_json(indent=1).encode()})
    return Plan(path, key, record, artefact)


def plans_folder(folder: Path, graph_sha256: str) -> Path:
    """Where plans of an artefact's graph are written: into the artefact, or the cache if it is shipped or not the user's."""
    mine, cached = _places(folder, graph_sha256)
    shipped = folder.resolve().is_relative_to(ZOO.resolve())
    return cached if shipped or not os.access(folder, os.W_OK) else mine


def graph_sha256(folder: Path, manifest: Manifest, graph: Graph) -> str:
    """The graph's hash: the manifest's, or of a lone file, which has no list of files, its own."""
    if graph.file in manifest.files:
        return manifest.files[graph.file].sha256
    return sha256(folder if folder.is_file() else folder / graph.file)


def build_command(folder: Path, graph: Graph, here: Machine, streams: int | None = None) -> str:
    """The command that makes the plan that is missing."""
    command = f"posemoe-edge build {folder} --engine {here.engine} --precision {graph.precision}"
    if here.engine == "tensorrt-rtx":
        command += f" --target {here.capability}"
    return command if streams is None else f"{command} --streams 1,{streams},{streams}"


def cache_folder() -> Path:
    """Where things lie that can be made again: XDG_CACHE_HOME, else ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "posemoe-edge"


def this_platform() -> str:
    """As it is in keys: linux-x86_64, linux-aarch64."""
    return f"{sys.platform}-{platform.machine()}".lower()


def _places(folder: Path, graph_sha256: str) -> tuple[Path, Path]:
    """The artefact's own folder of plans, and the cache's for that graph."""
    home = folder.parent if folder.is_file() else folder
    return home / FOLDER, cache_folder() / FOLDER / graph_sha256[:16]


def _side_cars(folder: Path, graph_sha256: str, graph: Graph) -> Iterator[Path]:
    """The side-cars that may speak of the graph, the artefact's own first."""
    for place in _places(folder, graph_sha256):
        yield from sorted(place.glob(f"{graph.file.removesuffix('.onnx')}.*.json"))
