"""The networks that posemoe-edge knows and does not contain: their files, origin and licence, and the cache that holds them.

They are in public packages. Nothing is fetched unasked: ``posemoe-edge detectors get NAME`` does it (``fetch.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..artefact.files import FileRecord, read_checked, record_file
from ..cache import cache_folder
from ..command_line import command_line
from .network_file import check_network_file

FOLDER = "detectors"
"""The folder in the cache."""


@dataclass(frozen=True)
class Package:
    """A package of a public registry.

    Args:
        registry: "pypi" or "npm".
        name, version: as the registry spells them.
        licence: of the networks in it, as SPDX spells it.
    """

    registry: str
    name: str
    version: str
    licence: str

    def __str__(self) -> str:
        return f"{self.name} {self.version} ({'PyPI' if self.registry == 'pypi' else self.registry})"


@dataclass(frozen=True)
class ModelFile:
    """A network's file.

    Args:
        name: in the cache.
        record: its size and sha256.
        package: which it is taken from.
        member: its path in the package.
    """

    name: str
    record: FileRecord
    package: Package
    member: str

    @property
    def path(self) -> Path:
        """Where it is in the cache."""
        return cache_folder() / FOLDER / self.name

    def is_ready(self) -> bool:
        """Whether the file in the cache is the one that it should be."""
        return self.path.is_file() and record_file(self.path) == self.record

    def read(self, *, run: str) -> bytes:
        """Its content, after the check.

        Args:
            run: the command that fetches it.

        Raises:
            MissingError: it is not in the cache.
            ArtefactError: it has another content than the record says.
        """
        check_network_file(self.path, expected=f"{self.name} of {self.package}", run=run)
        return read_checked(self.path, self.record, source=f"the record of {self.package}", run=run)


_MEDIAPIPE = Package("pypi", "mediapipe", "0.10.14", "Apache-2.0")
_MEDIAPIPE_POSE = Package("npm", "@mediapipe/pose", "0.5.1675469404", "Apache-2.0")


def _file(name: str, package: Package, folder: str, size: int, sha256: str) -> ModelFile:
    return ModelFile(name, FileRecord(sha256=sha256, bytes=size), package, f"{folder}/{name}")


POSE_DETECTION = _file(
    "pose_detection.tflite",
    _MEDIAPIPE,
    "mediapipe/modules/pose_detection",
    2_959_046,
    "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
)

POSE_LANDMARKS = {
    "lite": _file(
        "pose_landmark_lite.tflite",
        _MEDIAPIPE_POSE,
        "package",
        2_819_824,
        "f17bfbecadb61c3be1baa8b8d851cc6619c870a87167b32848ad20db306b9d61",
    ),
    "full": _file(
        "pose_landmark_full.tflite",
        _MEDIAPIPE,
        "mediapipe/modules/pose_landmark",
        6_440_512,
        "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
    ),
    "heavy": _file(
        "pose_landmark_heavy.tflite",
        _MEDIAPIPE_POSE,
        "package",
        27_709_200,
        "59e42d71bcd44cbdbabc419f0ff76686595fd265419566bd4009ef703ea8e1fe",
    ),
}
"""BlazePose's landmark networks by name, from the fastest to the most accurate."""


DEFAULT = {"blazepose": "full"}
"""Detector -> the variant that its bare name means."""

MODELS: dict[str, tuple[ModelFile, ...]] = {
    f"blazepose:{variant}": (POSE_DETECTION, landmarks) for variant, landmarks in POSE_LANDMARKS.items()
}
"""Detector and variant -> the files that it needs, of every detector whose networks can be fetched."""


def get_command(name: str) -> str:
    """The command that fetches a detector's files, by a name of ``MODELS``."""
    detector, _, variant = name.partition(":")
    return command_line("detectors", "get", detector if DEFAULT.get(detector) == variant else name)
