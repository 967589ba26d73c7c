"""Frames that come when they come: the capture time goes in, and the model's memory fades by the time that went by.

    python examples/variable_rate.py

Prints what each frame's time was taken for, among them:

    dt = 0.020 s  gap: reset
    dt = 0.020 s  gap: none
    dt = 0.400 s  gap: decay
    dt = 2.500 s  gap: reset
"""

import argparse

from posemoe_edge import GapPolicy, load
from posemoe_edge.runtime.sources import SyntheticSource

KEPT = (0, 1, 2, 4, 7, 8, 28, 30, 31, 156, 157)  # of frames at 50 Hz: a camera that stutters, then falls out twice


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="an artefact's folder; default: the shipped one")
    model = load(parser.parse_args().model, gaps=GapPolicy(decay_after_s=0.2, reset_after_s=0.5))

    frames = list(SyntheticSource(frames=max(KEPT) + 1))
    with model.stream() as stream:
        for n in KEPT:
            pose = stream.step(frames[n].keypoints[0].normalised(view=model.manifest.view), t=frames[n].t_s)
            print(f"dt = {pose.dt_s:.3f} s  gap: {pose.gap}")


if __name__ == "__main__":
    main()
