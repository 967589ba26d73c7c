"""MediaPipe Pose on a video, frame by frame on demand: run by the Python of a virtual environment of its own.

A line of JSON in, one out: {"video": FILE, "complexity": 0 to 2} opens, {"next": 1} gives the landmarks and time of a frame.
"""

import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # MediaPipe's own words go to stderr
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one core, however many threads it starts
    import cv2
    import mediapipe  # of the virtual environment

    cv2.setNumThreads(1)
    folder = Path(mediapipe.__file__).parent / "modules" / "pose_landmark"
    for file in sys.argv[1:]:  # networks that the wheel does not contain, and would fetch
        if not (folder / Path(file).name).exists():
            shutil.copy(file, folder)
    pose: Any = None
    capture: Any = None
    for line in sys.stdin:
        request = json.loads(line)
        answer: dict[str, Any] = {}
        if "video" in request:
            capture = cv2.VideoCapture(request["video"])
            pose = mediapipe.solutions.pose.Pose(model_complexity=request["complexity"], static_image_mode=False)
        else:
            read, image = capture.read()
            if read:
                rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
                began_s = time.perf_counter()
                result = pose.process(rgb)
                answer["seconds"] = time.perf_counter() - began_s
                height, width = image.shape[:2]
                if result.pose_landmarks is not None:
                    marks = result.pose_landmarks.landmark
                    answer["px"] = [[mark.x * width, mark.y * height, mark.visibility] for mark in marks]
                    answer["m"] = [[mark.x, mark.y, mark.z] for mark in result.pose_world_landmarks.landmark]
            else:
                answer["end"] = True
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
