"""Files of poses: what is written is read back, to the bit; what is damaged or of others is not believed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from posemoe_edge.runtime.archive.clip_lifter import ClipLifter, Job, LiftOptions
from posemoe_edge.runtime.archive.pose_file import Format, read_clip_record, write_poses
from posemoe_edge.runtime.archive.pose_table import COLUMNS, PoseTable
from posemoe_edge.runtime.errors import MissingError
from posemoe_edge.runtime.events import PoseFrame
from posemoe_edge.runtime.pose.types import Pose, Root

ROOT = Root(np.array([0.5, -0.2, 3], np.float32), np.full(3, 0.1, np.float32), 2.0, 1.1, "stature+floor", held_s=0.2)


def pose(person: int, t_s: float, **changes: Any) -> Pose:
    rng = np.random.default_rng(person)
    xyz_m, score = rng.normal(size=(17, 3)).astype(np.float32), rng.uniform(size=17).astype(np.float32)
    return Pose(xyz_m, score, t_s, 0.02, 0, "none", person=person, **changes)


@pytest.fixture
def table() -> PoseTable:
    """Two people in three frames, one of them with everything that a pose may have; the last frame is empty."""
    table = PoseTable()
    sigma_m = np.linspace(0.01, 0.09, 17, dtype=np.float32)
    table.add(PoseFrame(0.0, {7: pose(7, 0.0, sigma_m=sigma_m, root=ROOT, doubts=("fit",)), 2: pose(2, 0.0)}))
    table.add(PoseFrame(0.02, {7: pose(7, 0.0)}))  # with a latency of one frame
    table.add(PoseFrame(0.04, {}))
    return table


@pytest.fixture
def record(options: LiftOptions, tmp_path: Path, write_clip: Callable[..., Path], job_for: Callable[..., Job]) -> Any:
    """A record as a clip's file has it."""
    clip = write_clip(tmp_path / "clip.npz")
    ClipLifter(options).lift(job_for(clip, tmp_path / "clip.poses.npz"))
    return read_clip_record(tmp_path / "clip.poses.npz", form="npz")


def test_columns_have_one_row_for_each_pose_and_say_what_is_unknown(table: PoseTable) -> None:
    columns = table.columns()
    assert (table.frames, table.people, table.poses, table.located) == (3, 2, 3, 1)
    assert columns["person"].tolist() == [2, 7, 7] and columns["frame"].tolist() == [0, 0, 0]
    assert np.isnan(columns["root_m"][[0, 2]]).all() and columns["root_m"][1].tolist() == ROOT.xyz_m.tolist()
    assert np.isnan(columns["sigma_m"][0]).all() and columns["root_scale_from"].tolist() == ["", "stature+floor", ""]
    assert columns["doubt_fit"].tolist() == [False, True, False] and not columns["doubt_bones"].any()


def test_a_table_grows_and_keeps_every_number(walker_keypoints: Callable[..., np.ndarray]) -> None:
    table = PoseTable()
    for i in range(200):
        table.add(PoseFrame(i / 50, {0: pose(i, i / 50)}))
    assert (table.columns()["xyz_m"] == np.stack([pose(i, 0).xyz_m for i in range(200)])).all()
    assert table.columns()["frame"].tolist() == list(range(200))


def test_npz_is_read_back_to_the_bit_and_the_same_poses_are_the_same_bytes(
    table: PoseTable, record: Any, tmp_path: Path
) -> None:
    for name in ("a.npz", "b.npz"):
        write_poses(tmp_path / name, table, record, form="npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz") as entries:
        assert set(entries.files) == {"record", "frame_t_s", *(column.name for column in COLUMNS)}
        assert entries["frame_t_s"].tolist() == [0.0, 0.02, 0.04]
        for name, values in table.columns().items():
            assert entries[name].dtype == values.dtype and entries[name].tobytes() == values.tobytes()
        assert json.loads(str(entries["record"]))["made_by"]["preset"] == "tiny-retention"
    assert read_clip_record(tmp_path / "a.npz", form="npz") == record


def test_parquet_has_the_same_numbers_and_null_for_what_is_unknown(table: PoseTable, record: Any, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    write_poses(path, table, record, form="parquet")
    assert read_clip_record(path, form="parquet") == record
    read = parquet.read_table(path)
    assert read.column_names == ["clip", *(column.name for column in COLUMNS)]
    rows = read.to_pylist()
    assert [row["clip"] for row in rows] == [record.source] * 3
    for column in COLUMNS:
        for row, value in zip(rows, table.columns()[column.name], strict=True):
            if column.unknown is not None and (value == "" if column.dtype.startswith("U") else np.isnan(value).all()):
                assert row[column.name] is None
            else:
                assert (np.array(row[column.name], value.dtype).reshape(column.shape) == value).all()


@pytest.mark.parametrize("form", ["npz", "parquet"])
def test_an_empty_table_is_a_file_too(form: Format, record: Any, tmp_path: Path) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow")
    write_poses(tmp_path / form, PoseTable(), record, form=form)
    assert read_clip_record(tmp_path / form, form=form) == record


@pytest.mark.parametrize("form", ["npz", "parquet"])
def test_what_is_no_whole_file_of_this_version_is_not_believed(
    form: Format, table: PoseTable, record: Any, tmp_path: Path
) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"a.{form}"
    assert read_clip_record(path, form=form) is None
    for content in (b"", b"nonsense", b"PK\5\6" + bytes(18)):
        path.write_bytes(content)
        assert read_clip_record(path, form=form) is None
    write_poses(path, table, record.model_copy(update={"schema_version": 99}), form=form)
    assert read_clip_record(path, form=form) is None
    write_poses(path, table, record, form=form)
    path.write_bytes(path.read_bytes()[:-200])
    assert read_clip_record(path, form=form) is None


def test_a_write_that_fails_leaves_the_older_file_and_no_draft(
    table: PoseTable, record: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    write_poses(folder / "a.npz", table, record, form="npz")
    before = (folder / "a.npz").read_bytes()

    def full(*arguments: object, **entries: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match="No space left"):
        write_poses(folder / "a.npz", table, record, form="npz")
    assert (folder / "a.npz").read_bytes() == before and [file.name for file in folder.iterdir()] == ["a.npz"]


def test_parquet_without_pyarrow_names_the_extra(
    table: PoseTable, record: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingError, match=r"pip install \"posemoe-edge\[parquet\]\""):
        write_poses(tmp_path / "a.parquet", table, record, form="parquet")
