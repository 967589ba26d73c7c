"""ROS 2 messages of people, as bytes: for recordings, for a ROS node, for zenoh."""
