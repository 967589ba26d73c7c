"""A pipeline's events: people start, frames are refused, people are lost.

    python examples/pipeline_events.py

Prints:

    0.00 s  person 0 started
    0.00 s  person 1 started
    0.50 s  person 1 refused: joint 3 of the keypoints is not finite ...
    3.00 s  person 1 lost
    200 frames, 250 poses
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from posemoe_edge import FrameRefused, Pipeline, PoseFrame, TrackLost, TrackStarted, load
from posemoe_edge.runtime.sources import People, SyntheticSource


class Doorway(SyntheticSource):
    """Two walkers; one has a bad frame after half a second and is gone after one second."""

    def __iter__(self) -> Iterator[People]:
        for n, frame in enumerate(super().__iter__()):
            if n == 25:
                frame.keypoints[1].points[3] = np.nan
            yield frame if n <= 50 else replace(frame, keypoints={0: frame.keypoints[0]})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="an artefact's folder; default: the shipped one")
    model = load(parser.parse_args().model)

    frames = poses = 0
    with Doorway(people=2, frames=200) as source:
        for event in Pipeline(source, model):
            match event:
                case TrackStarted(person, t_s):
                    print(f"{t_s:.2f} s  person {person} started")
                case FrameRefused(person, t_s, error):
                    print(f"{t_s:.2f} s  person {person} refused: {error.what}")
                case TrackLost(person, t_s):
                    print(f"{t_s:.2f} s  person {person} lost")
                case PoseFrame():
                    frames, poses = frames + 1, poses + len(event.poses)
    print(f"{frames} frames, {poses} poses")


if __name__ == "__main__":
    main()
