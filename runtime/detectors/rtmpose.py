"""RTMPose in a file of the user's: a network of one person in a crop, with SimCC's outputs."""

from __future__ import annotations

from pathlib import Path

from .description import NetworkDescription
from .network import open_network
from .top_down import TopDownDetector

RTMPOSE = NetworkDescription(
    output="simcc",
    layout="nchw",
    colour="rgb",
    mean=(123.675, 116.28, 103.53),
    std=(58.395, 57.12, 57.375),
    margin=1.25,
)
"""What the family takes and gives, as MMPose exports it."""

_DEFAULT_SIZE_PX = (192, 256)  # of the family, where the file leaves it open


def open_rtmpose(path: str | Path, *, threads: int = 1) -> TopDownDetector:
    """The RTMPose in an ``.onnx`` file, of COCO-17's joints.

    Args:
        path: the file.
        threads: processor threads.
    """
    expected = "RTMPose: (N, 3, H, W) in, simcc_x (N, 17, 2 W) and simcc_y (N, 17, 2 H) out"
    network = open_network(path, form="rtmpose:FILE.onnx", expected=expected, threads=threads)
    size_px = _DEFAULT_SIZE_PX if -1 in network.input_shape[2:] else None
    return TopDownDetector(network, RTMPOSE.model_copy(update={"size_px": size_px}))
