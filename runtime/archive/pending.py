"""What is to be done of an archive: which clips are finished, which are not, and in which file each one's poses go."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .clip_lifter import Job
from .clip_record import ClipRecord, MadeBy, fingerprint
from .clip_search import Clip
from .pose_file import SUFFIX, Format, read_clip_record


@dataclass(frozen=True)
class Pending:
    """The work on an archive.

    Args:
        jobs: clips to lift.
        finished: clips whose poses are there, made from the clip as it is by the model and the options that are asked for.
        outdated: how many of the jobs have a complete file that is not so; it is replaced.
    """

    jobs: tuple[Job, ...]
    finished: int
    outdated: int


def find_pending(clips: Sequence[Clip], out: Path, *, form: Format, made_by: Callable[[bool], tuple[MadeBy, ...]]) -> Pending:
    """Compare the clips with the files of earlier calls. Nothing is written.

    A clip's file is named for it. Where two clips have one name, in this call or over several, their files have eight letters
    of their own too, and the one that has the plain name already keeps it.

    Args:
        out: the folder of results, which need not exist.
        made_by: whether a clip may have pictures -> what would make its poses now.
    """
    shared = Counter(clip.name for clip in clips)
    jobs, finished, outdated = list[Job](), 0, 0
    for clip in clips:
        target, record = _target(clip, out.absolute(), form, is_shared=shared[clip.name] > 1)
        if record is not None and _is_current(record, clip, made_by(clip.may_have_pictures)):
            finished += 1
            continue
        outdated += record is not None
        jobs.append(Job(clip.source, clip.path, target, clip.may_have_pictures))
    return Pending(tuple(jobs), finished, outdated)


def _target(clip: Clip, out: Path, form: Format, *, is_shared: bool) -> tuple[Path, ClipRecord | None]:
    """The file for a clip's poses, and the record of the poses of that clip that are there."""
    own = hashlib.sha256(clip.source.encode(errors="surrogateescape")).hexdigest()[:8]
    plain, special = (out / clip.name.with_name(f"{clip.name.name}{mark}{SUFFIX[form]}") for mark in ("", f"~{own}"))
    there = read_clip_record(special, form=form)
    if there is not None:
        return special, there
    there = read_clip_record(plain, form=form)
    if there is not None and there.source == clip.source:
        return plain, there
    return (special, None) if is_shared or there is not None else (plain, None)


def _is_current(record: ClipRecord, clip: Clip, made_by: tuple[MadeBy, ...]) -> bool:
    try:
        return record.made_by in made_by and (record.source_bytes, record.source_mtime_ns) == fingerprint(clip.path)
    except OSError:  # gone since: lifting it says so
        return False
