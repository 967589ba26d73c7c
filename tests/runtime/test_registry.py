"""Registries: built-in names, other packages' entry points, and errors that suggest a name."""

from __future__ import annotations

import sys
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
from posemoe_edge.runtime import MissingError, Model, Pipeline, UsageError, load
from posemoe_edge.runtime.registry import Registry, nearest, suggest
from posemoe_edge.runtime.sinks import open_sink
from posemoe_edge.runtime.sources import open_source

EXTENSION = """
from posemoe_edge.runtime.sinks import BaseSink
from posemoe_edge.runtime.detectors import Detection
from posemoe_edge.runtime.pose.keypoints import ImageSize
from posemoe_edge.runtime.pose.skeleton import COCO17
from posemoe_edge.runtime.sources import BaseSource, CameraFrame, SourceInfo
import numpy as np

class GreySource(BaseSource):
    pictures = True

    def __init__(self, location, *, frames):
        self.size_px, self.frames = int(location), frames

    @property
    def info(self):
        return SourceInfo(f"grey:{self.size_px}", frames=self.frames)

    def __iter__(self):
        for i in range(self.frames):
            yield CameraFrame(i / 10, np.full((self.size_px, self.size_px, 3), 128, np.uint8))

class CentreDetector:
    skeleton = COCO17

    def __init__(self, location):
        pass

    def detect(self, image_bgr, *, regions=None):
        size = ImageSize.of(image_bgr)
        return [Detection.from_coco(np.full((17, 3), (size.width_px / 2, size.height_px / 2, 1), np.float32), size=size)]

class OneTracker:
    def __init__(self, location):
        self.person = int(location)

    def update(self, detections, *, t_s):
        return {self.person: detections[0]}

    def regions(self, *, t_s):
        return []

    def reset(self):
        pass

class CountSink(BaseSink):
    counts = {}

    def __init__(self, location):
        self.location = location

    def write(self, event):
        name = type(event).__name__
        self.counts[name] = self.counts.get(name, 0) + 1

    def close(self):
        self.counts["closed"] = self.location

    def abort(self):
        pass
"""


@pytest.fixture
def extension(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed distribution that adds a source, a detector, a tracker and a sink, and a sink that cannot be imported."""
    (tmp_path / "grey_extension.py").write_text(EXTENSION)
    metadata = tmp_path / "grey_extension-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: grey-extension\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        dedent(
            """
            [posemoe_edge.sources]
            grey = grey_extension:GreySource
            [posemoe_edge.detectors]
            centre = grey_extension:CentreDetector
            [posemoe_edge.trackers]
            one = grey_extension:OneTracker
            [posemoe_edge.sinks]
            count = grey_extension:CountSink
            broken = grey_extension_absent:Sink
            """
        )
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "grey_extension", raising=False)


@pytest.fixture
def model(retention_artefact: Path) -> Model:
    return load(retention_artefact)


@pytest.mark.usefixtures("extension")
def test_another_package_adds_a_source_a_detector_a_tracker_and_a_sink(model: Model) -> None:
    sink = open_sink("count:somewhere")
    stats = Pipeline("grey://64", model, detector="centre", tracker="one:7", frames=3).run([sink])
    assert (stats.frames, stats.poses, stats.people) == (3, 3, 1)
    assert getattr(sink, "counts", None) == {"TrackStarted": 1, "PoseFrame": 3, "closed": "somewhere"}


@pytest.mark.usefixtures("extension")
def test_names_of_other_packages_are_suggested() -> None:
    with pytest.raises(UsageError, match=r"no sink 'cuont:x'; did you mean count.*expected one of jsonl:FILE, .*, count"):
        open_sink("cuont:x")
    with pytest.raises(UsageError, match=r"expected one of .*grey"):
        open_source("nothing")


@pytest.mark.usefixtures("extension")
def test_an_entry_point_that_cannot_be_imported_is_missing() -> None:
    with pytest.raises(MissingError, match=r"the sink broken cannot be imported .*grey_extension_absent"):
        open_sink("broken:x")


NUMBERS: Registry[object] = Registry(
    "number", group="posemoe_edge.none", builtin={"one": "numpy:ones", "two": "no_such_module:two"}, forms={"one": "one:SHAPE"}
)


def test_a_built_in_factory_is_imported_by_name() -> None:
    assert NUMBERS.find("one") is np.ones and list(NUMBERS) == ["one", "two"] and "one" in NUMBERS and "three" not in NUMBERS
    assert NUMBERS.resolve("one:3") == (np.ones, "3") and NUMBERS.forms == {"one": "one:SHAPE", "two": "two"}


def test_errors_say_what_is_possible_and_what_to_install() -> None:
    with pytest.raises(UsageError, match=r"no number 'onee'; did you mean one:SHAPE.*expected one of one:SHAPE, two"):
        NUMBERS.find("onee")
    with pytest.raises(UsageError, match="the number one needs a shape; expected one:SHAPE"):
        NUMBERS.resolve("one")
    with pytest.raises(MissingError, match=r"needs the package no_such_module.*posemoe-edge\[export\]"):
        NUMBERS.find("two", extra="export")


def test_the_nearest_name_is_suggested_whatever_its_case() -> None:
    assert nearest("JSNOL", ["jsonl", "PNG"]) == "jsonl" and nearest("png", ["jsonl", "PNG"]) == "PNG"
    assert nearest("xyz", ["jsonl"]) is None and nearest("xyz", ["jsonl"], cutoff=0) == "jsonl"
    assert suggest("xyz", ["jsonl"]) == "" and suggest("jsno", ["jsonl"], forms={"jsonl": "jsonl:FILE"}).endswith("jsonl:FILE?")
