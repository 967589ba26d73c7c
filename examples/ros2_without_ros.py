"""People on ROS 2 topics without ROS: published over zenoh under rmw_zenoh's keys. Needs the extras ros and zenoh.

    python examples/ros2_without_ros.py

A subscriber in the same process stands for the robot's nodes, which get the same bytes. Prints:

    0/posemoe/poses: 17 joints in camera0_optical, the hip at z = ... m
"""

import json
import queue
import socket

import zenoh
from posemoe_edge import Pipeline, load
from posemoe_edge.runtime.ros.types import POSES, from_cdr
from posemoe_edge.runtime.sinks import open_sink


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    endpoint = f"tcp/127.0.0.1:{free_port()}"
    config = zenoh.Config()
    config.insert_json5("listen/endpoints", json.dumps([endpoint]))
    config.insert_json5("scouting/multicast/enabled", "false")
    arrived: queue.Queue[tuple[str, bytes]] = queue.Queue()
    with zenoh.open(config) as session:
        key = "0/posemoe/poses/**"
        session.declare_subscriber(key, lambda sample: arrived.put((str(sample.key_expr), bytes(sample.payload))))
        sink = open_sink(f"ros2://posemoe?domain=0&transport=zenoh&connect={endpoint}")
        Pipeline("synthetic://walk", load(), frames=200).run([sink])
        name, cdr = arrived.get(timeout=20)
    poses = from_cdr(cdr, POSES)
    topic = "/".join(name.split("/")[:3])
    hip = poses.poses[0].position
    print(f"{topic}: {len(poses.poses)} joints in {poses.header.frame_id}, the hip at z = {hip.z:.2f} m")


if __name__ == "__main__":
    main()
