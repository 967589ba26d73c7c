"""A run as a recording of Rerun, to look at in its viewer. Needs the extra rerun.

    python examples/rerun_recording.py

Prints:

    wrote walk.rrd: 100 frames of 2 people; look at it: rerun walk.rrd
"""

from posemoe_edge import Pipeline, load
from posemoe_edge.runtime.sinks import open_sink


def main() -> None:
    stats = Pipeline("synthetic://walk?people=2", load(), frames=100).run([open_sink("rerun:walk.rrd")])
    print(f"wrote walk.rrd: {stats.frames} frames of {stats.people} people; look at it: rerun walk.rrd")


if __name__ == "__main__":
    main()
