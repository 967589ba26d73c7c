"""Two people in one launch: the second one joins later and leaves earlier, and the first one does not notice.

    python examples/two_people.py

Prints a line when somebody comes or goes, and at the end:

    frame 20: person 1 joins
    frame 40: person 1 leaves
    person 0 alone and in company: 0.0 mm apart at most
"""

import argparse

import numpy as np
from posemoe_edge import load
from posemoe_edge.runtime.sources import SyntheticSource


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="an artefact's folder; default: the shipped one")
    model = load(parser.parse_args().model)

    frames = list(SyntheticSource(people=2, frames=60))
    first, second = model.stream(), None
    together = []
    for n, frame in enumerate(frames):
        if n == 20:
            second = model.stream()  # takes a slot; nothing is rebuilt
            print(f"frame {n}: person 1 joins")
        if n == 40 and second is not None:
            second.close()  # gives the slot back
            second = None
            print(f"frame {n}: person 1 leaves")
        keypoints = {first: frame.keypoints[0].normalised(view=model.manifest.view)}
        if second is not None:
            keypoints[second] = frame.keypoints[1].normalised(view=model.manifest.view)
        poses = model.step_batch(keypoints, t=frame.t_s)  # one launch for all
        together.append(poses[first].xyz_m)
    first.close()

    with model.stream() as alone:
        apart = [
            alone.step(f.keypoints[0].normalised(view=model.manifest.view), t=f.t_s).xyz_m - xyz
            for f, xyz in zip(frames, together, strict=True)
        ]
    print(f"person 0 alone and in company: {1000 * np.abs(apart).max():.1f} mm apart at most")


if __name__ == "__main__":
    main()
