"""Files that claim, or unpack to, more than there is memory: refused by their size, in a moment."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from posemoe_edge.edge.data.bvh import read_bvh
from posemoe_edge.edge.data.mocap import load_clips
from posemoe_edge.edge.data.pickled import read_pickled
from posemoe_edge.runtime.artefact.manifest import parse_manifest
from posemoe_edge.runtime.bounds import DEFAULT_MB, MOST_PEOPLE, allow_megabytes, check_nodes, npz, parsing
from posemoe_edge.runtime.errors import ArtefactError, PoseEdgeError, SourceError, UsageError
from posemoe_edge.runtime.pose.camera_file import read_camera
from posemoe_edge.runtime.sources import open_source


@pytest.fixture
def limit() -> Iterator[None]:
    """A limit of 1 MB, so that a bomb is small."""
    allow_megabytes(1)
    yield
    allow_megabytes(DEFAULT_MB)


def array_file(path: Path, header: dict[str, object], content: bytes) -> Path:
    """An npz whose keypoints have a header that may not fit."""
    array = io.BytesIO()
    np.lib.format.write_array_header_1_0(array, header)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("keypoints.npy", array.getvalue() + content)
    return path


@pytest.mark.usefixtures("limit")
def test_an_archive_that_unpacks_to_a_thousandfold_is_refused_unless_it_is_allowed(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "bomb.npz", keypoints=np.zeros((10_000, 17, 3)))
    assert (tmp_path / "bomb.npz").stat().st_size < 20_000
    with pytest.raises(PoseEdgeError, match=r"bomb\.npz needs 4 MB of memory; expected at most 1 MB.*--max-input-mb"):
        open_source(f"kpts:{tmp_path / 'bomb.npz'}")
    with pytest.raises(ArtefactError, match="needs 4 MB of memory"):
        load_clips(tmp_path / "bomb.npz")
    allow_megabytes(8)
    with open_source(f"kpts:{tmp_path / 'bomb.npz'}") as source:
        assert source.info.frames == 10_000


@pytest.mark.usefixtures("limit")
def test_a_large_file_that_is_not_packed_needs_no_option(tmp_path: Path) -> None:
    np.savez(tmp_path / "large.npz", a=np.zeros(300_000))
    with npz(tmp_path / "large.npz") as entries:
        assert len(entries["a"]) == 300_000


def test_a_header_of_a_trillion_frames_is_compared_with_what_is_there(tmp_path: Path) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": (10**12, 17, 3)}
    path = array_file(tmp_path / "claims.npz", header, b"\0" * 204)
    with pytest.raises(SourceError, match=r"claims\.npz cannot be read .*claims 204000000000000 bytes and holds 204"):
        open_source(f"kpts:{path}")


def test_people_of_a_hundred_million_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="100000000 people; expected at most 1000"):
        open_source("synthetic://walk?people=100000000")
    np.savez(tmp_path / "crowd.npz", keypoints=np.zeros((1, MOST_PEOPLE + 1, 17, 3), np.float32))
    with pytest.raises(SourceError, match="1001 people"):
        open_source(f"kpts:{tmp_path / 'crowd.npz'}")


def test_three_frames_at_a_million_seconds_are_refused(tmp_path: Path) -> None:
    head = "HIERARCHY\nROOT Hips\n{\nOFFSET 0 0 0\nCHANNELS 3 Xposition Yposition Zposition\nEnd Site\n{\nOFFSET 0 1 0\n}\n}\n"
    (tmp_path / "slow.bvh").write_text(f"{head}MOTION\nFrames: 3\nFrame Time: 1e6\n{'0 0 0 ' * 3}\n")
    with pytest.raises(ArtefactError, match=r"a frame time of 1e6 s"):
        read_bvh(tmp_path / "slow.bvh")


def test_lists_that_hold_each_other_many_times_are_refused(tmp_path: Path) -> None:
    nested: list[object] = [1] * 100
    for _ in range(6):
        nested = [nested] * 100  # 10^14 numbers in some hundred bytes
    np.savez(tmp_path / "data.npz", positions_3d=np.array({"S1": nested}, object))
    with pytest.raises(ArtefactError, match="more than 1000000 values"):
        read_pickled(tmp_path / "data.npz", "positions_3d")
    with pytest.raises(ValueError, match="more than 1000000 values"):
        check_nodes(nested)


def test_a_pickle_with_a_place_for_billions_of_results_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    array = io.BytesIO()
    np.lib.format.write_array_header_1_0(array, {"descr": "|O", "fortran_order": False, "shape": ()})
    stream = b"\x80\x02" + b"K\x01" + b"r" + (2**31 - 1).to_bytes(4, "little") + b"."  # 1, remembered at place 2^31 - 1
    assert pickle.loads(b"\x80\x02K\x01.") == 1
    with zipfile.ZipFile(tmp_path / "data.npz", "w") as archive:
        archive.writestr("positions_3d.npy", array.getvalue() + stream)
    with pytest.raises(ArtefactError, match="a place with the number 2147483647"):
        read_pickled(tmp_path / "data.npz", "positions_3d")


def test_a_camera_file_whose_names_stand_for_each_other_is_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    (tmp_path / "camera.yaml").write_text("\n".join([*lines, "camera_matrix: *a8"]))
    pytest.importorskip("yaml")
    with pytest.raises(UsageError, match=r"camera\.yaml cannot be read \(more than 1000000 values\)"):
        read_camera(tmp_path / "camera.yaml")


def test_a_network_of_a_billion_layers_is_refused_by_its_configuration() -> None:
    pytest.importorskip("torch")
    from posemoe_edge.edge.models.topology import config_from

    record = {"topology": "frame", "mixer": None, "dim": 64, "heads": 4, "layers": 2, "window": 1}
    assert config_from(record).layers == 2
    for layers, message in ((10**9, "at most 100000"), (10**4, "at most 1000")):
        with pytest.raises(UsageError, match=message):
            config_from(record | {"layers": layers})
    with pytest.raises(UsageError, match=r"needs \d+ MB of memory"):
        config_from(record | {"layers": 900, "dim": 65_536})


def test_json_without_end_is_an_error_of_the_file() -> None:
    with pytest.raises(ArtefactError, match=r"manifest\.json is not a manifest"):
        parse_manifest(b'{"schema_version": ' + b"[" * 100_000, "manifest.json")
    with pytest.raises(ArtefactError, match="bytes"):
        parse_manifest(b" " * (65 << 20), "manifest.json")


@pytest.mark.parametrize(
    "fault", [RecursionError("deep"), MemoryError(), KeyError("x"), OverflowError("large"), AssertionError()]
)
def test_whatever_a_parser_throws_becomes_one_error_with_the_name_of_the_file(fault: Exception) -> None:
    with (
        pytest.raises(ArtefactError, match=r"a\.npz cannot be read \(.+\); expected an npz"),
        parsing("a.npz", expected="an npz"),
    ):
        raise fault
    mine = SourceError("known")
    with pytest.raises(SourceError) as raised, parsing("a.npz", expected="an npz"):
        raise mine
    assert raised.value is mine


def test_lines_of_json_with_numbers_without_end_are_left_out(tmp_path: Path) -> None:
    points = [[0.0, 0.0, 1.0]] * 17
    good = json.dumps({"t_s": 1.0, "people": {"0": points}})
    bad = [json.dumps({"t_s": 0.5, "people": {"9" * 5000: points}}), "[" * 100_000, '{"t_s": ' + "9" * 5000 + "}"]
    (tmp_path / "a.jsonl").write_text("\n".join([*bad, good]))
    with open_source(f"jsonl:{tmp_path / 'a.jsonl'}") as source:
        assert len(list(source)) == 1


def test_names_that_are_no_unicode_are_an_error_of_the_file(tmp_path: Path) -> None:
    """numpy reads any 32 bits as a character, and Python then refuses to make text of them."""
    word = np.array("normalised")
    broken = np.frombuffer(b"\x00\x00\x00\x30" * 10, word.dtype).reshape(())
    np.savez(tmp_path / "a.npz", keypoints=np.zeros((2, 17, 3)), units=broken)
    with pytest.raises(SourceError, match=r"a\.npz: units (cannot be read|is )"):
        open_source(f"kpts:{tmp_path / 'a.npz'}")
