"""The options of a verb that say what is known of the camera."""

from __future__ import annotations

from dataclasses import replace

import click

from ...runtime.errors import UsageError
from ...runtime.pose.camera_file import read_camera
from ...runtime.pose.camera_model import Camera, FieldOfView, unit_gravity
from .options import Verb, add_options


def camera_options(function: Verb) -> Verb:
    """Add the options to a verb; ``known_camera`` makes a camera of the first four."""
    return add_options(
        function,
        click.option("--camera", help="Calibration of ROS, OpenCV, Kalibr (FILE#cam1) or our own TOML: positions in metres."),
        click.option("--fov", type=float, help="In place of a calibration: the picture's horizontal field of view in degrees."),
        click.option("--gravity", help="Which way is down: X,Y,Z in camera axes (right, down, forward)."),
        click.option(
            "--camera-height",
            type=float,
            help="Height of the camera above the floor in metres; needs the direction of gravity.",
        ),
        click.option("--stature", type=float, help="Height of everybody in the picture in metres, if you know it."),
        click.option(
            "--view",
            type=click.Choice(["auto", "off"]),
            default="auto",
            show_default=True,
            help="How an artefact of view image sees people whose camera is known: each through a virtual camera that looks at "
            "them (auto), or in the picture as it is (off).",
        ),
    )


def known_camera(
    camera: str | None, *, fov: float | None, gravity: str | None, camera_height: float | None
) -> Camera | FieldOfView | None:
    """What the options say of the camera; None if they say nothing.

    Raises:
        UsageError: options that contradict each other, or no calibration in the file.
        MissingError: no such file.
    """
    if camera is not None and fov is not None:
        raise UsageError("--camera and --fov both describe the lens", expected="one of the two")
    if camera is None and fov is None:
        if gravity is not None or camera_height is not None:
            given = "--gravity" if gravity is not None else "--camera-height"
            raise UsageError(f"{given} without a camera", expected="--camera FILE or --fov DEGREES with it")
        return None
    known = read_camera(camera) if camera is not None else FieldOfView(fov or 0.0)
    if gravity is not None:
        known = replace(known, gravity=unit_gravity(_three_numbers(gravity)))
    if camera_height is not None:
        if known.gravity is None:
            raise UsageError("--camera-height without the direction of gravity", expected="--gravity X,Y,Z with it")
        known = replace(known, height_m=camera_height)
    return known


def _three_numbers(text: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 3:
        raise UsageError(f"--gravity {text}", expected="X,Y,Z, such as 0,0.97,0.26 for a camera that looks down by 15 degrees")
    return numbers
