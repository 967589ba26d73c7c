"""Everything that parses a user's file: a seed that it reads, and the call that reads it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from posemoe_edge.runtime.artefact.certificate import parse_certificate
from posemoe_edge.runtime.artefact.manifest import parse_manifest
from posemoe_edge.runtime.model import load
from posemoe_edge.runtime.pose.camera_file import read_camera
from posemoe_edge.runtime.snapshot import Snapshot
from posemoe_edge.runtime.sources import open_source
from posemoe_edge.runtime.sources.keypoints_file import save_keypoints


@dataclass(frozen=True)
class Parser:
    """A parser under test.

    Args:
        name: of the case; its suffix is that of the file.
        seed: a file that it reads.
        read: reads a file.
    """

    name: str
    seed: bytes
    read: Callable[[Path], object]


ARTEFACT = Path(__file__).parents[2] / "runtime/zoo/frame-retention-s"

_BVH = b"""HIERARCHY
ROOT Hips
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT Spine
  {
    OFFSET 0 10 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    End Site
    {
      OFFSET 0 5 0
    }
  }
}
MOTION
Frames: 2
Frame Time: 0.02
0 90 0 1 2 3 4 5 6
0 91 0 1 2 3 4 5 6
"""
_TOML = b"width_px = 640\nheight_px = 480\nfx_px = 600\nfy_px = 600\ncx_px = 320\ncy_px = 240\ngravity = [0.0, 1.0, 0.0]\n"
_YAML = b"""image_width: 640
image_height: 480
distortion_model: plumb_bob
camera_matrix: {rows: 3, cols: 3, data: [600, 0, 320, 0, 600, 240, 0, 0, 1]}
distortion_coefficients: {rows: 1, cols: 5, data: [0.1, -0.2, 0, 0, 0]}
"""
_RESULTS = [{"image_id": frame, "category_id": 1, "keypoints": [90.0, 80.0, 0.5] * 17, "score": 0.9} for frame in (1, 2)]


def parsers(folder: Path) -> list[Parser]:
    """All parsers whose packages are installed; seeds are made in ``folder``."""
    points = np.random.default_rng(0).random((3, 17, 3))
    save_keypoints(folder / "seed.npz", keypoints=points)
    line = {"t_s": 0.02, "people": {"0": points[0].round(3).tolist()}, "width_px": 640, "height_px": 480}
    found = [
        Parser("keypoints.npz", (folder / "seed.npz").read_bytes(), _frames("kpts:")),
        Parser("keypoints.json", json.dumps(_RESULTS).encode(), _frames("kpts:", "?width=640&height=480")),
        Parser("keypoints.jsonl", f"{json.dumps(line)}\n".encode() * 2, _frames("jsonl:")),
        Parser("manifest.json", _artefact("manifest.json"), lambda path: parse_manifest(path.read_bytes(), str(path))),
        Parser(
            "certificate.json",
            _artefact("certificate.json"),
            lambda path: parse_certificate(path.read_bytes(), str(path), "posemoe-edge verify"),
        ),
        Parser("camera.toml", _TOML, read_camera),
        Parser("camera.yaml", _YAML, read_camera),
        Parser("camera.xml", _xml(), read_camera),
        Parser("snapshot.npz", _snapshot(points), lambda path: Snapshot.from_bytes(path.read_bytes())),
        *_of_training(folder),
        *_of_recordings(folder),
    ]
    for parser in found:
        (folder / f"seed-{parser.name}").write_bytes(parser.seed)
    return found


def _frames(scheme: str, query: str = "") -> Callable[[Path], object]:
    def read(path: Path) -> int:
        with open_source(f"{scheme}{path}{query}") as source:
            return sum(1 for _ in source)

    return read


def _artefact(name: str) -> bytes:
    return (ARTEFACT / name).read_bytes()


def _snapshot(points: NDArray[np.float64]) -> bytes:
    model = load(ARTEFACT)
    try:
        with model.stream() as stream:
            stream.step(points[0].astype(np.float32), t=0.0)
            return stream.snapshot().to_bytes()
    finally:
        model.close()


def _xml() -> bytes:
    matrix = "<camera_matrix><data>600 0 320 0 600 240 0 0 1</data></camera_matrix>"
    size = "<image_width>640</image_width><image_height>480</image_height>"
    return f"<opencv_storage>{matrix}{size}</opencv_storage>".encode()


def _of_training(folder: Path) -> list[Parser]:
    """Files that training, import and evaluation read; without torch those that need none."""
    from posemoe_edge.edge.data.bvh import read_bvh
    from posemoe_edge.edge.data.dataset import field_names
    from posemoe_edge.edge.data.h36m_cameras import read_cameras
    from posemoe_edge.edge.data.mocap import SPLITS, Clip, load_clips, save_clips
    from posemoe_edge.edge.data.pickled import read_pickled
    from posemoe_edge.edge.data.recorded import RECORDED_SPLITS, RecordedSequence, load_recorded, save_recorded
    from posemoe_edge.edge.data.sequences import PoseSequence

    pickled = io.BytesIO()
    np.savez(pickled, positions_3d=np.array({"S1": {"Walk": np.zeros((2, 3), np.float32), "n": [1, 2.0, "a"]}}, object))
    joints = np.random.default_rng(1).random((4, 17, 3), np.float32)  # (T, 17, 3)
    save_clips(folder / "clips.npz", [Clip("a", "1", "walk", SPLITS[0], native=True, fps=50.0, joints_m=joints)])
    sequence = PoseSequence(joints, joints, np.full(4, 0.02, np.float32), "a", "walk", valid=np.ones(4, np.bool_))
    save_recorded(folder / "sequences.npz", [RecordedSequence(sequence, "S1", RECORDED_SPLITS[0])])
    clips, sequences = ((folder / name).read_bytes() for name in ("clips.npz", "sequences.npz"))
    camera = {"rotation": np.eye(3).tolist(), "eye_m": [0, 0, 1], "focal_px": [1000, 1000], "centre_px": [500, 500]}
    found = [
        Parser("motion.bvh", _BVH, read_bvh),
        Parser("cameras.json", json.dumps({"S1": [camera] * 4}).encode(), read_cameras),
        Parser("pickled.npz", pickled.getvalue(), lambda path: read_pickled(path, "positions_3d")),
        Parser("mocap.npz", clips, load_clips),
        Parser("recorded.npz", sequences, load_recorded),
        Parser("names.npz", clips, field_names),
    ]
    try:
        import torch
        from posemoe_edge.edge.official.weights import read_weights
        from safetensors.torch import save
    except ImportError:
        return found
    weights, archive = {"a.weight": torch.ones(4, 3), "a.bias": torch.zeros(4)}, io.BytesIO()
    torch.save({"model_pos": weights, "epoch": 3}, archive)
    found.append(Parser("weights.safetensors", save(weights), read_weights))
    found.append(Parser("weights.pth", archive.getvalue(), read_weights))
    return found


def _of_recordings(folder: Path) -> list[Parser]:
    if find_spec("rosbags") is None:
        return []
    try:
        import zstandard  # noqa: F401
        from mcap.writer import CompressionType, Writer
    except ImportError:
        return []
    with (folder / "seed.mcap").open("wb") as file:
        writer = Writer(file, compression=CompressionType.ZSTD)
        writer.start(profile="ros2", library="test")
        schema = writer.register_schema("std_msgs/msg/String", "ros2msg", b"string data")
        channel = writer.register_channel("/posemoe/keypoints", "json", schema)
        entry = {"skeleton": "h36m17", "size_px": None, "dtype": "float32", "points": np.zeros((17, 3)).tolist()}
        for i in range(3):
            text = json.dumps({"version": 1, "t_s": i / 50, "people": {"0": entry}, "poses": {}})
            writer.add_message(channel, i, text.encode(), i)
        writer.finish()  # type: ignore[no-untyped-call]
    return [Parser("run.mcap", (folder / "seed.mcap").read_bytes(), _frames("mcap:"))]
