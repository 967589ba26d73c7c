"""A recorded run as a regression test: lifted again, it has the same poses, bit for bit. Needs the extra ros.

    python examples/replay_as_test.py

Prints:

    recorded: 100 poses
    the same graph: 100 of 100 poses the same, bit for bit
    half precision: 0 of 100 the same; 0.0... mm apart on average
"""

import tempfile
from pathlib import Path

from posemoe_edge import Pipeline, load
from posemoe_edge.runtime.replay import open_recording, replay
from posemoe_edge.runtime.sinks import open_sink


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        recording = Path(folder) / "run.mcap"
        stats = Pipeline("synthetic://walk?people=2", load(), frames=50).run([open_sink(f"mcap:{recording}")])
        print(f"recorded: {stats.poses} poses")

        report = replay(open_recording(str(recording)), load())
        assert report.identical, report.first
        print(f"the same graph: {report.equal} of {report.poses} poses the same, bit for bit")

        half = replay(open_recording(str(recording)), load(precision="fp16"))
        print(f"half precision: {half.equal} of {half.poses} the same; {half.mean_mm:.3f} mm apart on average")


if __name__ == "__main__":
    main()
