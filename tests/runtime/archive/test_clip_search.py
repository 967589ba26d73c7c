"""Which clips inputs name, and what is said of inputs that name none."""

from __future__ import annotations

from pathlib import Path, PurePath

import pytest
from posemoe_edge.runtime.archive.clip_search import find_clips
from posemoe_edge.runtime.errors import MissingError, UsageError


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return folder


def names(*inputs: object) -> list[str]:
    return [str(clip.name) for clip in find_clips([str(text) for text in inputs])]


def test_a_folder_has_the_clips_at_any_depth_in_natural_order_under_their_places(tmp_path: Path) -> None:
    fill(tmp_path, "walk10.npz", "walk2.npz", "b/run.MP4", "a/x.jsonl", "a/bag.mcap", "notes.txt", ".hidden.npz", ".git/x.npz")
    assert names(tmp_path) == ["walk2.npz", "walk10.npz", "a/bag.mcap", "a/x.jsonl", "b/run.MP4"]


def test_a_clip_is_opened_by_the_uri_of_its_kind_and_only_pictures_need_a_detector(tmp_path: Path) -> None:
    fill(tmp_path, "a.npz", "b.json", "c.jsonl", "d.mp4", "e.mcap")
    clips = find_clips([str(tmp_path)])
    schemes = ["kpts:", "kpts:", "jsonl:", "", "mcap:"]
    assert [clip.source for clip in clips] == [f"{scheme}{clip.path}" for scheme, clip in zip(schemes, clips, strict=True)]
    assert [clip.may_have_pictures for clip in clips] == [False, False, False, True, True]


def test_results_in_the_folder_are_no_clips(tmp_path: Path) -> None:
    assert names(fill(tmp_path, "walk.npz", "out/walk.npz.poses.npz", "walk.npz.poses.parquet")) == ["walk.npz"]


def test_a_folder_of_one_file_for_each_picture_is_one_clip(tmp_path: Path) -> None:
    fill(tmp_path, "s1/a_000_keypoints.json", "s1/a_001_keypoints.json", "s1/video.mp4", "s2/b.json")
    assert names(tmp_path) == ["s1", "s1/video.mp4", "s2/b.json"]


def test_a_clip_that_is_named_twice_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, "walk.npz")
    monkeypatch.chdir(tmp_path)
    assert names("walk.npz", tmp_path / "walk.npz", tmp_path, "kpts:walk.npz", "w*.npz") == ["walk.npz"]


def test_a_pattern_matches_files_and_folders_and_names_them_from_its_fixed_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, "in/s1/walk.npz", "in/s2/walk.npz", "in/s2/deep/run.npz", "in/s2/notes.txt", "in/s3/x.txt")
    monkeypatch.chdir(tmp_path)
    assert names("in/*/walk.npz") == ["s1/walk.npz", "s2/walk.npz"]
    assert names(f"{tmp_path}/in/s*") == ["s1/walk.npz", "s2/walk.npz", "s2/deep/run.npz"]
    assert names("**/run.npz") == ["in/s2/deep/run.npz"]


def test_a_name_that_looks_like_a_pattern_is_a_name_where_it_exists(tmp_path: Path) -> None:
    fill(tmp_path, "take[1].npz", "take1.npz")
    assert names(tmp_path / "take[1].npz") == ["take[1].npz"]


def test_a_uri_names_a_clip_in_many_files_with_its_options(tmp_path: Path) -> None:
    fill(tmp_path, "openpose/0.json", "pictures/0.png", "bag.mcap")
    for uri, rest in ((f"kpts:{tmp_path}/openpose", "?width=640&height=480"), (f"mcap:{tmp_path}/bag.mcap", "#/camera")):
        (clip,) = find_clips([uri + rest])
        assert clip.source == uri + rest and clip.name == PurePath(clip.path.name)
    assert names(f"images:{tmp_path}/pictures?fps=5") == ["pictures"]


def test_everything_that_is_missing_is_said_at_once(tmp_path: Path) -> None:
    fill(tmp_path, "walk.npz")
    absent = ["nowhere.npz", str(tmp_path / "x*.npz"), "kpts:gone.npz"]
    with pytest.raises(MissingError) as error:
        find_clips([absent[0], str(tmp_path), *absent[1:]])
    assert (
        "no file or folder nowhere.npz" in error.value.what and "x*.npz" in error.value.what and "gone.npz" in error.value.what
    )
    with pytest.raises(MissingError, match="and 5 more"):
        find_clips([f"nowhere{n}.npz" for n in range(15)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("empty", "no clips in the folder empty"),
        ("pictures", "one clip as images:pictures"),
        ("notes.txt", "no clip that is known by its name"),
        ("pictures/*", "none of the 1 files and folders"),
        ("synthetic://walk", "no recording"),
        ("rtsp://user:secret@host/x", "no recording"),
        ("jsonl:-", "no recording"),
        ("result.poses.npz", "no clip that is known by its name"),
    ],
)
def test_what_is_no_recorded_clip_is_refused(text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, "pictures/a.png", "notes.txt", "result.poses.npz")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message) as error:
        find_clips([text])
    assert "secret" not in str(error.value)


def test_a_folder_that_cannot_be_read_is_said_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, "walk.npz")

    def walk(folder: Path, onerror: object) -> object:
        assert callable(onerror)
        onerror(PermissionError(13, "Permission denied", str(folder)))
        return iter([])

    monkeypatch.setattr("os.walk", walk)
    with pytest.raises(MissingError, match="Permission denied"):
        find_clips([str(tmp_path)])
