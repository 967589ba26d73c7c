"""Fetching networks: by the real pip, from a wheel in a folder in place of the registry. Nothing else gets into the cache."""

from __future__ import annotations

import importlib.util
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from posemoe_edge.runtime.cache import VARIABLE
from posemoe_edge.runtime.detectors import open_detector
from posemoe_edge.runtime.detectors.fetch import fetch
from posemoe_edge.runtime.detectors.models import FOLDER, MODELS
from posemoe_edge.runtime.errors import ArtefactError, MissingError, UsageError

FULL = MODELS["blazepose:full"]

MakeWheel = Callable[[dict[str, bytes]], None]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def make_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeWheel:
    """make_wheel({path: content}): the only package that pip finds is mediapipe with these files."""
    if importlib.util.find_spec("pip") is None:
        pytest.skip("pip is not installed in this environment")
    registry = tmp_path / "registry"
    registry.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(registry))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")

    def make(files: dict[str, bytes]) -> None:
        about = {
            "METADATA": b"Metadata-Version: 2.1\nName: mediapipe\nVersion: 0.10.14\n",
            "WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: cp311-cp311-manylinux_2_17_x86_64\n",
            "RECORD": b"",
        }
        name = "mediapipe-0.10.14-cp311-cp311-manylinux_2_17_x86_64.whl"
        with zipfile.ZipFile(registry / name, "w") as wheel:
            for path, content in (files | {f"mediapipe-0.10.14.dist-info/{k}": v for k, v in about.items()}).items():
                wheel.writestr(path, content)

    return make


def test_the_networks_are_taken_from_the_wheel_once(blazepose_networks: Path, cache: Path, make_wheel: MakeWheel) -> None:
    make_wheel({file.member: (blazepose_networks / file.name).read_bytes() for file in FULL})
    packages: list[str] = []
    assert fetch("blazepose", on_package=lambda package: packages.append(str(package))) == list(FULL)
    assert sorted(path.name for path in (cache / FOLDER).iterdir()) == sorted(file.name for file in FULL)
    assert fetch("blazepose:full") == [] and packages == ["mediapipe 0.10.14 (PyPI)"]
    FULL[1].path.write_bytes(b"something else")
    with pytest.raises(ArtefactError, match="run: posemoe-edge detectors get blazepose"):
        open_detector("blazepose")
    assert fetch("blazepose") == [FULL[1]] and FULL[1].is_ready()


def test_a_wheel_with_other_files_leaves_the_cache_as_it_is(cache: Path, make_wheel: MakeWheel) -> None:
    make_wheel({file.member: b"another network" for file in FULL})
    with pytest.raises(ArtefactError, match=r"pose_detection\.tflite in mediapipe-0.* is another one"):
        fetch("blazepose")
    make_wheel({})
    with pytest.raises(ArtefactError, match=r"has no readable mediapipe/modules/pose_detection"):
        fetch("blazepose")
    assert not cache.exists()


def test_without_a_connection_the_package_that_is_missing_is_named(cache: Path, make_wheel: MakeWheel) -> None:
    with pytest.raises(MissingError, match=r"mediapipe 0\.10\.14 \(PyPI\) cannot be downloaded \(No matching distribution"):
        fetch("blazepose")
    assert not cache.exists()


def test_without_npm_nothing_is_downloaded(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(cache))
    packages: list[object] = []
    with pytest.raises(MissingError, match="npm is not installed"):
        fetch("blazepose:heavy", on_package=packages.append)
    assert packages == [] and not cache.exists()


def test_a_detector_without_networks_in_packages_is_a_usage_error(cache: Path) -> None:
    with pytest.raises(UsageError, match="did you mean blazepose:heavy"):
        fetch("blazepose:heavi")
    with pytest.raises(UsageError, match="nothing to fetch for the detector 'movenet'"):
        fetch("movenet")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:9ba9\nsize 2959046\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html><body>Not found</body></html>", "web page"),
        (b"", "is empty"),
        (b"\x1c\x00\x00\x00TFL3" + bytes(99), "has 107 bytes; expected 2959046"),
    ],
)
def test_only_the_right_file_in_the_cache_is_opened(cache: Path, content: bytes, message: str) -> None:
    with pytest.raises(MissingError, match=r"no file .*pose_detection\.tflite.*run: posemoe-edge detectors get blazepose:lite"):
        open_detector("blazepose:lite")
    FULL[0].path.parent.mkdir(parents=True)
    FULL[0].path.write_bytes(content)
    with pytest.raises(ArtefactError, match=message) as error:
        open_detector("blazepose")
    assert error.value.run == "posemoe-edge detectors get blazepose"


def test_an_unknown_variant_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"did you mean heavy.*blazepose:lite, blazepose:full, blazepose:heavy"):
        open_detector("blazepose:hevy")
