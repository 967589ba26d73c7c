"""Real files for the names that pages use in their commands: clip.npz, video.mp4, camera0 and others.

A block that names one finds it in its folder. What cannot be had on this machine skips the block, with the reason.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bvh_figure import write_bvh
from pages import ROOT

SHARED = ROOT.parent / "shared"
REAL_CLIP = SHARED / "assets" / "real" / "single_cam01.mp4"
VIDEO_FRAMES = 25
VIDEO_SIZE = (540, 960)  # width, height in px; the clip is portrait


def write_clip(path: Path) -> None:
    """Keypoints of one walking person, in pixels, as another program's detector would have recorded them."""
    from posemoe_edge.runtime.sources import SyntheticSource
    from posemoe_edge.runtime.sources.keypoints_file import save_keypoints

    points = np.stack([frame.keypoints[0].points for frame in SyntheticSource(people=1, frames=100)])
    save_keypoints(path, keypoints=points, fps=50, units="pixels", width_px=1000, height_px=1002)


def write_clips(path: Path) -> None:
    """A folder with two clips."""
    path.mkdir()
    write_clip(path / "first.npz")
    shutil.copy(path / "first.npz", path / "second.npz")


def write_video(path: Path) -> None:
    """A second of a real clip, small."""
    if not REAL_CLIP.is_file():
        pytest.skip("no real clip beside the repository")
    av = pytest.importorskip("av")
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(REAL_CLIP)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = *VIDEO_SIZE, "yuv420p"
        for n, frame in enumerate(source.decode(video=0)):
            if n >= VIDEO_FRAMES:
                break
            small = frame.reformat(*VIDEO_SIZE, format="yuv420p")
            small.pts = None
            target.mux(stream.encode(small))
        target.mux(stream.encode())


def write_camera_alias(path: Path) -> None:
    """posemoe-edge.toml in which camera0 is the video, so that a run of it ends."""
    write_video(path.parent / "video.mp4")
    path.write_text('[cameras]\ncamera0 = "video.mp4"\n')


def write_camera_info(path: Path) -> None:
    """What ROS writes of the video's camera."""
    width, height = VIDEO_SIZE
    focal = 1.2 * height
    path.write_text(
        f"image_width: {width}\nimage_height: {height}\ncamera_name: front\n"
        f"camera_matrix:\n  rows: 3\n  cols: 3\n  data: [{focal}, 0, {width / 2}, 0, {focal}, {height / 2}, 0, 0, 1]\n"
        "distortion_model: plumb_bob\ndistortion_coefficients:\n  rows: 1\n  cols: 5\n  data: [0, 0, 0, 0, 0]\n"
    )


def link_motion(path: Path) -> None:
    """The motion data, if it lies beside the repository."""
    motion = SHARED / "data" / path.name
    if not motion.is_file():
        pytest.skip(f"no {path.name} beside the repository")
    path.symlink_to(motion)


def copy_artefact(path: Path) -> None:
    """What ``posemoe-edge export --precision fp16`` writes, with its certificate."""
    shutil.copytree(ROOT / "runtime" / "zoo" / path.name, path)


FILES: dict[str, tuple[str, Callable[[Path], None]]] = {
    r"\bclip\.npz": ("clip.npz", write_clip),
    r"\blift clips\b": ("clips", write_clips),
    r"\bvideo\.mp4": ("video.mp4", write_video),
    r"\bcamera0\b": ("posemoe-edge.toml", write_camera_alias),
    r"\bfront\.yaml": ("front.yaml", write_camera_info),
    r"\bcmu_h36m17\.npz": ("cmu_h36m17.npz", link_motion),
    r"\bwalk\.bvh": ("walk.bvh", write_bvh),
    r"\bframe-retention-s\b": ("frame-retention-s", copy_artefact),
}
"""How a page names a file: the file, and who writes it."""


def put_files(code: str, folder: Path) -> None:
    """Write the files that ``code`` names and that are not there. ``pytest.skip`` where one cannot be had."""
    for pattern, (file, write) in FILES.items():
        written_by_page = file == "frame-retention-s" and re.search(r"posemoe-edge export(?! [a-z])", code)
        if re.search(pattern, code) and not written_by_page and not (folder / file).exists():
            write(folder / file)
