"""Two cameras, one model: each camera has a pipeline in a thread of its own, and the model's launches take turns.

    python examples/two_cameras.py

Prints:

    left: 100 poses of person 0
    right: 200 poses of persons 0, 1
"""

from concurrent.futures import ThreadPoolExecutor

from posemoe_edge import Model, Pipeline, PoseFrame, load

CAMERAS = {"left": "synthetic://walk?people=1&seed=1", "right": "synthetic://walk?people=2&seed=2"}


def watch(model: Model, source: str) -> tuple[int, set[int]]:
    """How many poses of whom a camera sees. Ids are each camera's own."""
    poses, people = 0, set[int]()
    for event in Pipeline(source, model, frames=100):
        if isinstance(event, PoseFrame):
            poses += len(event.poses)
            people |= event.poses.keys()
    return poses, people


def main() -> None:
    model = load()  # opened once: weights and engine are shared, states are not
    with ThreadPoolExecutor(len(CAMERAS)) as threads:
        running = {name: threads.submit(watch, model, source) for name, source in CAMERAS.items()}
        for name, result in running.items():
            poses, people = result.result()
            who = f"person{'s' if len(people) > 1 else ''} {', '.join(map(str, sorted(people)))}"
            print(f"{name}: {poses} poses of {who}")


if __name__ == "__main__":
    main()
