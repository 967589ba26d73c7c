"""A snapshot of a stream: go back to it, or go on from it in another stream, with the same poses bit by bit.

    python examples/snapshot.py

Prints:

    same stream, restored: same poses
    another stream, restored: same poses
    a stream without a past: other poses
"""

import argparse

import numpy as np
from posemoe_edge import Stream, load
from posemoe_edge.runtime.sources import SyntheticSource


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="an artefact's folder; default: the shipped one")
    model = load(parser.parse_args().model)
    frames = list(SyntheticSource(frames=60))

    def lift(stream: Stream, part: slice) -> np.ndarray:
        return np.stack(
            [stream.step(frame.keypoints[0].normalised(view=model.manifest.view), t=frame.t_s).xyz_m for frame in frames[part]]
        )

    past, future = slice(0, 50), slice(50, 60)
    stream = model.stream()
    lift(stream, past)
    snapshot = stream.snapshot()
    expected = lift(stream, future)

    def tell(name: str, poses: np.ndarray) -> None:
        print(f"{name}: {'same' if np.array_equal(poses, expected) else 'other'} poses")

    stream.restore(snapshot)
    tell("same stream, restored", lift(stream, future))
    another = model.stream()
    another.restore(snapshot)
    tell("another stream, restored", lift(another, future))
    tell("a stream without a past", lift(model.stream(), future))


if __name__ == "__main__":
    main()
