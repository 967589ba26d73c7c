#!/usr/bin/env bash
# parts.sh PYTHON FOLDER: sets up what tests/real needs beside Python packages, and says what it could not. What is missing is
# no error: its tests are skipped, with the reason.
#
# With apt, as root: an RTSP server and GStreamer for the system's Python, and Chromium. Into FOLDER: a virtual environment with
# ROS's wheels, which must be one of their own, since they start Python anew, one with pyzeros, one with Ray, and one with Triton,
# which nvidia-pytriton brings with an older numpy.
set -uo pipefail
python=$1 folder=$2
mkdir -p "$folder"
missing() { echo "not set up: $1"; }

packages=(python3-gi gir1.2-gst-rtsp-server-1.0 gir1.2-gst-plugins-base-1.0 gstreamer1.0-plugins-good gstreamer1.0-plugins-bad
  gstreamer1.0-plugins-ugly gstreamer1.0-libav chromium)
if ! dpkg --status "${packages[@]}" > /dev/null 2>&1; then
  if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
    missing "an RTSP server and Chromium, which need root and apt-get: apt-get install ${packages[*]}"
  elif ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "${packages[@]}"; } \
    > "$folder/apt.log" 2>&1; then
    missing "an RTSP server and Chromium: $(tail -n 1 "$folder/apt.log")"
  fi
fi

ros=$folder/ros
if ! "$ros/bin/python" -c "import rclpy" 2> /dev/null; then
  rm -rf "$ros"
  if ! { "$python" -m venv "$ros" && "$ros/bin/pip" install --disable-pip-version-check "ros-rclpy[fastrtps]" \
    ros-visualization-msgs ros-geometry-msgs ros-sensor-msgs ros-std-msgs rosbags pydantic numpy; } > "$folder/ros.log" 2>&1; then
    rm -rf "$ros"
    missing "rclpy: $(tail -n 1 "$folder/ros.log")"
  fi
fi

zeros=$folder/zeros
if ! "$zeros/bin/python" -c "import pyzeros" 2> /dev/null; then
  rm -rf "$zeros"
  if ! { "$python" -m venv "$zeros" && "$zeros/bin/pip" install --disable-pip-version-check pyzeros; } > "$folder/zeros.log" 2>&1
  then
    rm -rf "$zeros"
    missing "pyzeros: $(tail -n 1 "$folder/zeros.log")"
  fi
fi

cluster=$folder/ray
if ! "$cluster/bin/python" -c "import ray.data, onnxruntime" 2> /dev/null; then
  rm -rf "$cluster"
  if ! { "$python" -m venv "$cluster" && "$cluster/bin/pip" install --disable-pip-version-check "ray[data]>=2.40" pyarrow \
    onnxruntime numpy click pydantic rich tomli; } > "$folder/ray.log" 2>&1; then
    rm -rf "$cluster"
    missing "ray: $(tail -n 1 "$folder/ray.log")"
  fi
fi

triton=$folder/triton
if ! "$triton/bin/python" -c "import pytriton, onnxruntime" 2> /dev/null; then
  rm -rf "$triton"
  if ! { "$python" -m venv "$triton" && "$triton/bin/pip" install --disable-pip-version-check nvidia-pytriton onnxruntime pydantic \
    click rich; } > "$folder/triton.log" 2>&1; then
    rm -rf "$triton"
    missing "Triton: $(tail -n 1 "$folder/triton.log")"
  fi
fi
