"""A pipeline: source -> detector -> tracker -> lifter -> sinks. People come and go, and each has a stream of the model."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal

from .any_model import AnyModel
from .arrays import ImageBgr
from .detectors import Detector
from .errors import CheckFailedError, FrameError, UsageError
from .events import (
    ClockReset,
    Event,
    FrameRefused,
    ModelSwapped,
    PoseFrame,
    SourceBack,
    SourceChanged,
    SourceLost,
    TrackLost,
    TrackStarted,
)
from .people_finder import PeopleFinder
from .people_lifter import PeopleLifter
from .pose.camera_model import Camera, FieldOfView
from .pose.joint_memory import HOLD_S
from .pose.plausibility import BoneCheck
from .pose.smoothing import Smooth
from .run_stats import RunCounter, RunStats
from .sight import Sight
from .sinks import RunInfo, Sink, SinkGroup, check_sinks
from .source_clock import SourceClock
from .sources import CameraFrame, People, Source, SourceInfo, open_source
from .sources.keypoint_watch import watched
from .stage_times import StageTimes
from .tracking import DEFAULT_TRACKER, Tracker

log = logging.getLogger(__name__)


class Pipeline:
    """Lifts the people of a source. Iterate over it for its events, ``async for`` too, or let ``run`` pass them to sinks.

    Just before the model, distortion is undone, COCO-17 becomes Human3.6M-17, by the recipe that the model was trained for, and
    pixels are normalised; up to there keypoints stay as the source or the detector gave them. Poses are in the axes of the
    camera, and have a position in metres if the camera is known.

    Args:
        source: an open source, which the caller closes; or a URI, which each iteration opens and closes.
        model: lifts the people.
        detector: finds people in pictures: a detector, or its name. None is ``blazepose``, for sources of pictures.
        tracker: gives detections ids that last from frame to frame: a tracker, or its name, which is opened for pictures
            only. The ids of a source of keypoints are kept.
        frames: at most so many frames of a URI, None for all.
        search_every: frames between two searches for further people, of a detector that works in two stages.
        camera: that the people are seen by; None takes what the source knows of its own.
        view: "auto" gives a model of view ``image`` the view of a level camera that looks at each person, if the camera is
            known; "off" gives it the picture as it is.
        stature_m: of everybody in the picture, if it is known: their positions are scaled by it.
        smooth: filters keypoints before the model and poses after it: "off", "light" or "strong".
        hold_s: how long a joint that the detector loses stays where it was, with a falling score; 0 turns that off.
        flip: also lift the mirrored person, and average.

    Raises:
        UsageError: a stature that nobody has, or a negative ``hold_s``.
        MissingError: the source yields pictures, no detector is given and the default one is not installed.
    """

    def __init__(
        self,
        source: Source | str,
        model: AnyModel,
        *,
        detector: Detector | str | None = None,
        tracker: Tracker | str = DEFAULT_TRACKER,
        frames: int | None = None,
        search_every: int = 10,
        camera: Camera | FieldOfView | None = None,
        view: Literal["auto", "off"] = "auto",
        stature_m: float | None = None,
        smooth: Smooth = "off",
        hold_s: float = HOLD_S,
        flip: bool = False,
    ) -> None:
        self.source, self.model = source, model
        self._times = StageTimes()
        self.finder = PeopleFinder(detector, tracker, search_every=search_every, times=self._times)
        self._max_frames = frames
        self.camera, self._look, self._stature_m = camera, view == "auto", stature_m
        self._sight = self._open_sight(None)
        self._bones = BoneCheck()
        self.smooth = smooth
        self.lifter = PeopleLifter(model, smooth=smooth, hold_s=hold_s, flip=flip)
        self._group = SinkGroup(())
        self._next_model: AnyModel | None = None
        if not isinstance(source, str) and source.pictures:
            self.finder.open()

    def __iter__(self) -> Generator[Event, None, None]:
        with self._opened_source() as source:
            yield from self._events(source)

    async def __aiter__(self) -> AsyncGenerator[Event, None]:
        """The same events in an event loop, which goes on while a frame is waited for and lifted in a thread."""
        import asyncio  # only here: it is slow to import

        events, pending = iter(self), None
        try:
            while True:
                pending = asyncio.ensure_future(asyncio.to_thread(next, events, None))
                event = await asyncio.shield(pending)
                if event is None:
                    return
                yield event
        finally:
            if pending is not None:
                await asyncio.wait([pending])  # after a cancellation the thread has the generator until its frame is done
            await asyncio.to_thread(events.close)

    def run(self, sinks: Sequence[Sink] = (), *, on_event: Callable[[Event], None] | None = None) -> RunStats:
        """Pass all events to sinks, and count them.

        Each sink has a thread of its own behind a queue. If a queue is full, the pipeline waits for the sink; if the source is
        live, the oldest frames in the queue are dropped and counted instead. A sink that fails is aborted, and the run goes on
        while another one is left.

        An interrupt from the keyboard and a failed check, such as that of a shadow, end the run as the end of the source does,
        and the sinks are closed. After any other error they are closed too, with what was lifted, and it is raised; before the
        first frame it aborts them.

        Args:
            sinks: they are opened, and closed or aborted.
            on_event: called with each event, in this thread, after the sinks have it in their queues.

        Raises:
            UsageError: two sinks write one file, or one the file that is read.
            Exception: of a sink that cannot be opened, or the last of the sinks that failed.
        """
        interrupted, failed_check, failure = False, None, None
        self._group = SinkGroup(sinks)
        with self._group as group, self._opened_source() as source:
            check_sinks(sinks, source)
            group.open(self.run_info(source.info))
            counter = RunCounter(self.model.latency_frames)
            try:
                for event in self._events(source):
                    counter.add(event)
                    group.write(event)
                    if on_event is not None:
                        on_event(event)
            except KeyboardInterrupt:  # a camera's run has no other end: the sinks keep what they have
                interrupted = True
            except CheckFailedError as error:
                failed_check = error
            except Exception as error:
                if not counter.frames or error in group.failures:
                    raise
                failure = error
            stats = counter.result(interrupted=interrupted, failed_check=failed_check)
        if failure is not None:
            raise failure
        return replace(stats, dropped=group.dropped, sink_failures=tuple(group.failures))

    def swap(self, model: AnyModel) -> None:
        """Lift with another model from the next frame on, without losing the people. Any thread may call it during a run.

        Between graphs of the same weights, fp32 and fp16 or two engines, people keep their state; with other weights their
        streams start again. The event ``ModelSwapped`` says which. The caller closes the old model, after that event.

        Raises:
            UsageError: keypoints or poses mean something else to that model, or it has another latency.
        """
        for field in ("keypoint_recipe", "view", "skeleton", "units"):
            before, after = (getattr(which.manifest, field) for which in (self.model, model))
            if before != after:
                raise UsageError(f"a model whose {field} is {after}", expected=f"{before}, as of the one before")
        if model.latency_frames != self.model.latency_frames:
            raise UsageError(
                f"a model with a latency of {model.latency_frames} frames", expected=f"{self.model.latency_frames}, as before"
            )
        self._next_model = model

    def _swapped(self, t_s: float) -> Iterator[ModelSwapped]:
        """Change over to the model of ``swap``, if there is one."""
        model, self._next_model = self._next_model, None
        if model is not None:
            kept_state = self.lifter.swap(model)
            self.model = model
            yield ModelSwapped(t_s, model.manifest.preset, model.graph.precision, model.engine, kept_state)

    @property
    def dropped(self) -> int:
        """Frames that the sinks of ``run`` were too slow for, so far."""
        return self._group.dropped

    @contextmanager
    def _opened_source(self) -> Iterator[Source]:
        if not isinstance(self.source, str):
            yield self.source
            return
        source = open_source(self.source, frames=self._max_frames)
        try:
            if source.pictures:
                self.finder.open()
            yield source
        finally:
            source.close()

    def run_info(self, source: SourceInfo) -> RunInfo:
        """What sinks are told about a run of this source."""
        graph, sight = self.model.graph, self._open_sight(source)
        return RunInfo(
            source=source,
            preset=self.model.manifest.preset,
            precision=graph.precision,
            mode=graph.mode,
            engine=self.model.engine,
            latency_frames=self.model.latency_frames,
            view_from=sight.view_from,
            camera=sight.camera,
            graph=self.model.identity,
            smooth=self.smooth,
            hold_s=self.lifter.hold_s,
            flip=self.lifter.flip,
        )

    def _open_sight(self, source: SourceInfo | None) -> Sight:
        manifest = self.model.manifest
        return Sight(
            self.camera or (None if source is None else source.camera),
            recipe=manifest.keypoint_recipe,
            view=manifest.view,
            look=self._look,
            metric=manifest.metric,
            stature_m=self._stature_m,
            latency_frames=self.model.latency_frames,
        )

    def _events(self, source: Source) -> Iterator[Event]:
        self._sight, self._bones = self._open_sight(source.info), BoneCheck(metric=self.model.manifest.metric)
        clock, warned = SourceClock(reset_after_s=self.model.gaps.reset_after_s), False
        try:
            for item in watched(source):
                if isinstance(item, SourceLost | SourceBack | SourceChanged):
                    if isinstance(item, SourceChanged):
                        self.finder.reset()
                    yield item
                    continue
                yield from self._swapped(item.t_s)
                newest_s, step = clock.newest_s, clock.see(item.t_s)
                if not warned and clock.question:
                    warned = True
                    log.warning("%s: %s", source.info.name, clock.question)
                if step == "late":
                    yield from self._refuse(item, newest_s)
                    continue
                yield from self._lose(self.lifter.people if step == "reset" else self.lifter.absent(item.t_s), item.t_s)
                if step == "reset":
                    assert newest_s is not None, "the first frame of a run begins no clock anew"
                    self.finder.reset()
                    yield ClockReset(item.t_s, before_s=newest_s)
                if isinstance(item, CameraFrame):
                    people = People(item.t_s, self.finder.find(item), arrived_s=item.arrived_s)
                    yield from self._lift(people, image_bgr=item.image_bgr)
                else:
                    yield from self._lift(item)
        finally:
            self.lifter.close()
            self.finder.reset()

    def _lose(self, people: Sequence[int], t_s: float) -> Iterator[TrackLost]:
        """Forget these people."""
        for person in people:
            self.lifter.forget(person)
            self._sight.forget(person)
            self._bones.forget(person)
            yield TrackLost(person, t_s)

    def _refuse(self, item: CameraFrame | People, newest_s: float | None) -> Iterator[FrameRefused | PoseFrame]:
        """A frame that is late costs everybody in it one frame; a picture is not looked at."""
        error = FrameError(f"time went from {newest_s} s to {item.t_s} s", expected="each frame later than the one before")
        image_bgr = item.image_bgr if isinstance(item, CameraFrame) else None
        keypoints = item.keypoints if isinstance(item, People) else {}
        for person in self.lifter.people if isinstance(item, CameraFrame) else keypoints:
            yield FrameRefused(person, item.t_s, error)
        yield PoseFrame(item.t_s, {}, keypoints=keypoints, image_bgr=image_bgr)

    def _lift(self, people: People, *, image_bgr: ImageBgr | None = None) -> Iterator[Event]:
        """One frame of everybody in one launch."""
        t_s, keypoints = people.t_s, people.keypoints
        for person in keypoints:
            if self.lifter.see(person, t_s):
                yield TrackStarted(person, t_s)
        if self.lifter.smooths:
            with self._times.stage("smooth"):
                keypoints = self.lifter.smooth_keypoints(t_s, keypoints)
        with self._times.stage("view"):
            normalised = self._sight.see(t_s, self.lifter.hold_joints(t_s, keypoints), measured=keypoints)
        with self._times.stage("lift"):
            lifted, refused = self.lifter.lift(t_s, normalised)
        with self._times.stage("root"):
            poses = self._bones.check(self._sight.place(lifted))
        if self.lifter.smooths:
            with self._times.stage("smooth"):
                poses = self.lifter.smooth_poses(poses)
        yield from refused
        yield PoseFrame(
            t_s,
            poses,
            keypoints=keypoints,
            truth_m=people.truth_m,
            truth_root_m=people.truth_root_m,
            image_bgr=image_bgr,
            stages_s=self._times.take(),
            lag_s=None if people.arrived_s is None else time.monotonic() - people.arrived_s,
        )
