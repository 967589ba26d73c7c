"""Load a model, stream a walking person through it, print a joint.

    python examples/lift_walker.py

Prints five lines of the form:

    t = 0.00 s  right wrist at x = +0.10, y = +0.02, z = -0.05 m from the hip  (gap: reset)
"""

import argparse

from posemoe_edge import load
from posemoe_edge.runtime.pose.skeleton import H36M17
from posemoe_edge.runtime.sources import SyntheticSource

RIGHT_WRIST = H36M17.joints.index("right_wrist")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="an artefact's folder; default: the shipped one")
    model = load(parser.parse_args().model)

    with model.stream() as stream, SyntheticSource(noise_px=2, frames=50) as source:
        for n, frame in enumerate(source):
            pose = stream.step(
                frame.keypoints[0].normalised(view=model.manifest.view), t=frame.t_s
            )  # person 0: (17, 3) x, y, score
            if n % 10 == 0:
                x, y, z = pose.xyz_m[RIGHT_WRIST]
                place = f"x = {x:+.2f}, y = {y:+.2f}, z = {z:+.2f} m from the hip"
                print(f"t = {pose.t_s:.2f} s  right wrist at {place}  (gap: {pose.gap})")


if __name__ == "__main__":
    main()
