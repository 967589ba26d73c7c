"""BVH files of a standing figure, for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

# A standing figure of common joints: joint -> (its parent, the way from it in centimetres, y up).
FIGURE: dict[str, tuple[str, tuple[float, float, float]]] = {
    "Hips": ("", (0, 95, 0)), "Spine": ("Hips", (0, 10, 0)), "Spine1": ("Spine", (0, 12, 0)),
    "Neck": ("Spine1", (0, 28, 0)), "Head": ("Neck", (0, 10, 2)),
    "LeftUpLeg": ("Hips", (9, -3, 0)), "LeftLeg": ("LeftUpLeg", (0, -42, 0)), "LeftFoot": ("LeftLeg", (0, -43, 0)),
    "RightUpLeg": ("Hips", (-9, -3, 0)), "RightLeg": ("RightUpLeg", (0, -42, 0)), "RightFoot": ("RightLeg", (0, -43, 0)),
    "LeftArm": ("Spine1", (18, 13, 0)), "LeftForeArm": ("LeftArm", (29, 0, 0)), "LeftHand": ("LeftForeArm", (26, 0, 0)),
    "RightArm": ("Spine1", (-18, 13, 0)), "RightForeArm": ("RightArm", (-29, 0, 0)), "RightHand": ("RightForeArm", (-26, 0, 0)),
}  # fmt: skip


def write_bvh(path: Path, *, seed: int = 0, frames: int = 180, fps: float = 120.0) -> Path:
    """The figure, waving about."""

    def joint(name: str, depth: int) -> list[str]:
        pad, below = "\t" * depth, [child for child, (parent, _) in FIGURE.items() if parent == name]
        x, y, z = FIGURE[name][1]
        word = "ROOT" if depth == 0 else "JOINT"
        lines = [
            f"{pad}{word} {name}",
            pad + "{",
            f"{pad}\tOFFSET {x} {y} {z}",
            f"{pad}\tCHANNELS 3 Zrotation Xrotation Yrotation",
        ]
        for child in below:
            lines += joint(child, depth + 1)
        if not below:
            lines += [f"{pad}\tEnd Site", pad + "\t{", f"{pad}\t\tOFFSET 0 {9 if name == 'Head' else 1} 0", pad + "\t}"]
        return [*lines, pad + "}"]

    rng = np.random.default_rng(seed)
    t_s = np.arange(frames)[:, None] / fps
    degrees = 15 * np.sin(3 * t_s + rng.uniform(0, 6, 3 * len(FIGURE)))
    rows = [" ".join(f"{value:.3f}" for value in row) for row in degrees]
    head = ["HIERARCHY", *joint("Hips", 0), "MOTION", f"Frames: {frames}", f"Frame Time: {1 / fps:.7f}"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*head, *rows]) + "\n")
    return path
