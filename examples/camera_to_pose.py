"""From a camera to poses in ten lines: what a program that embeds the runtime begins with.

    python examples/camera_to_pose.py                     # people who walk without a camera
    python examples/camera_to_pose.py camera0 --fov 70    # after: posemoe-edge detectors get blazepose

Prints for every tenth frame:

    0.20 s  person 0: right wrist at x 0.04, y 0.08, z -0.20 m from the hip, +-0.11 m; hip 3.8 m away
"""

import argparse

from posemoe_edge import FieldOfView, Pipeline, PoseFrame, load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", nargs="?", default="synthetic://walk")
    parser.add_argument("--fov", type=float, help="horizontal field of view in degrees, for positions in metres")
    parser.add_argument("--frames", type=int, default=50)
    options = parser.parse_args()

    camera = FieldOfView(options.fov) if options.fov else None
    events = Pipeline(options.source, load(), camera=camera, frames=options.frames)
    for n, frame in enumerate(event for event in events if isinstance(event, PoseFrame)):
        for person, pose in frame.poses.items() if n % 10 == 0 else ():
            x_m, y_m, z_m = pose.xyz_m[16]  # of Human3.6M's 17 joints
            sigma = "" if pose.sigma_m is None else f", +-{pose.sigma_m[16]:.2f} m"
            away = "" if pose.root is None else f"; hip {pose.root.xyz_m[2]:.1f} m away"
            wrist = f"right wrist at x {x_m:.2f}, y {y_m:.2f}, z {z_m:.2f} m from the hip"
            print(f"{frame.t_s:.2f} s  person {person}: {wrist}{sigma}{away}")


if __name__ == "__main__":
    main()
