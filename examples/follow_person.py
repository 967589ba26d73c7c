"""A robot that keeps two metres from a person, slower the less it knows where they are, and stops when it does not.

    python examples/follow_person.py

Prints twice a second where the person is and what the robot is told:

    0.50 s  person 3.9 m ahead, 1.1 m to the right, +-0.2 m: drive 0.46 m/s, turn -0.20 rad/s
"""

import numpy as np
from posemoe_edge import Pipeline, Pose, PoseFrame, load

DISTANCE_M, FASTEST_M_S, FASTEST_RAD_S = 2.0, 0.6, 0.8
TRUSTED_M = 0.5  # a standard deviation as large halves the speed


def command(pose: Pose | None) -> tuple[float, float]:
    """Speed ahead in m/s and to the left in rad/s. Camera axes: x right, y down, z ahead."""
    if pose is None or pose.root is None or pose.root.held_s > 0.5 or pose.doubts:
        return 0.0, 0.0
    x_m, _, z_m = pose.root.xyz_m
    trust = 1 / (1 + float(pose.root.sigma_m[2]) / TRUSTED_M)
    ahead = np.clip(0.5 * (z_m - DISTANCE_M), -FASTEST_M_S, FASTEST_M_S)
    turn = np.clip(-1.0 * np.arctan2(x_m, z_m), -FASTEST_RAD_S, FASTEST_RAD_S)
    return float(trust * ahead), float(trust * turn)


def main() -> None:
    model = load()
    for event in Pipeline("synthetic://walk?people=1&noise=2", model, frames=200):  # a walker whose camera is known
        if not isinstance(event, PoseFrame):
            continue
        pose = event.poses.get(0)
        ahead_m_s, turn_rad_s = command(pose)
        if round(event.t_s * 50) % 25 or pose is None or pose.root is None:
            continue
        x_m, _, z_m = pose.root.xyz_m
        where = f"person {z_m:.1f} m ahead, {abs(x_m):.1f} m to the {'right' if x_m > 0 else 'left'}"
        told = f"drive {ahead_m_s:.2f} m/s, turn {turn_rad_s:.2f} rad/s"
        print(f"{event.t_s:.2f} s  {where}, +-{pose.root.sigma_m[2]:.1f} m: {told}")


if __name__ == "__main__":
    main()
