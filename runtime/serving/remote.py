"""A model on a Triton server, with the interface of ``Model``: each stream is a sequence there."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any

from numpy.typing import ArrayLike

from ..any_model import AnyModel
from ..artefact.manifest import parse_manifest
from ..command_line import command_line
from ..errors import ArtefactError, FrameError, MissingError, UsageError
from ..pose.types import Pose
from . import wire
from .connection import Connection, ConnectionLost
from .discovery import find_model
from .messages import Frame, frame_request, pose_of_response
from .remote_stream import NEVER, RemoteStream
from .server_url import ServerUrl

log = logging.getLogger(__name__)

CONNECT_S = 2.0
RETRY_S = 0.2
"""Between two attempts to connect, while frames wait for the server."""

IMPATIENT_CONNECT_S, IMPATIENT_RETRY_S = 0.2, 1.0
"""After ``patience_s``, when frames are refused at once."""

GOODBYE_S = 1.0


class RemoteModel:
    """Lifts people on a server; made by ``connect``. As a context manager it is closed at the end.

    Streams may be used from several threads, which take turns.

    If the connection breaks, or the server is restarted, each person's sequence begins anew there under the same number, with
    the frames of the last ``replay_s``; ``on_notice`` is told.
    """

    engine = "triton"

    def __init__(
        self,
        url: ServerUrl,
        name: str,
        parameters: Mapping[str, str],
        *,
        timeout_s: float,
        patience_s: float,
        replay_s: float,
        on_notice: Callable[[str], None] | None,
    ) -> None:
        self.url, self.name = url, name
        self.manifest = parse_manifest(parameters["manifest"], f"{url}: the manifest")
        self.graph = next(graph for graph in self.manifest.graphs if graph.precision == parameters["precision"])
        self.gaps = wire.gap_policy(parameters)
        self.identity = parameters["identity"]
        self.latency_frames = self.manifest.latency_frames
        self.resumed = 0
        self._timeout_s, self.patience_s, self.replay_s = timeout_s, patience_s, replay_s
        self._notice = on_notice or log.warning
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._generation = 0  # of connections: what an earlier one began is not known to be there
        self._lost_s: float | None = None
        self._tried_s = -math.inf
        self._closed = False

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        timeout_s: float = 5.0,
        patience_s: float = 10.0,
        replay_s: float = 1.0,
        on_notice: Callable[[str], None] | None = None,
    ) -> RemoteModel:
        """The model of people on a server.

        Args:
            url: ``grpc://HOST:PORT``, ``/MODEL`` behind it if there are several; ``grpcs://`` with TLS.
            timeout_s: for the answer to a frame.
            patience_s: how long frames wait for a server that was lost, before they are refused.
            replay_s: how much of each person's past is sent again afterwards; 0 is nothing.
            on_notice: told in words that the server was lost, is back, and who resumed; None logs it.

        Raises:
            UsageError: the URL is none, or does not say which of several models.
            MissingError: nobody answers there, there is no such model, or tritonclient is not installed.
            ArtefactError: the model there is not one of ours, or of another version.
        """
        server = ServerUrl.parse(url)
        try:
            connection = Connection(server, timeout_s=CONNECT_S)
        except ConnectionLost as error:
            run = command_line("serve", "--listen", server.address)
            raise MissingError(f"no server at {server}: {error}", expected="a Triton", run=run) from None
        with ExitStack() as on_error:
            on_error.callback(connection.close)
            name, parameters = find_model(server, connection, timeout_s)
            on_server = dict(timeout_s=timeout_s, patience_s=patience_s, replay_s=replay_s)
            try:
                model = cls(server, name, parameters, **on_server, on_notice=on_notice)
            except (KeyError, StopIteration, ValueError) as error:
                raise ArtefactError(f"{server}: the model {name} lacks {error}", expected="one that triton wrote") from None
            on_error.pop_all()
        model._connection, model._generation = connection, 1
        return model

    def __repr__(self) -> str:
        return f"RemoteModel(url={str(self.url)!r}, name={self.name!r})"

    def __str__(self) -> str:
        return f"{self.name} {self.graph.precision} {self.graph.mode}"

    @property
    def state_bytes(self) -> int:
        """The state that one stream carries from frame to frame on the server, in bytes."""
        return self.manifest.state_bytes

    def shares_states_with(self, other: AnyModel) -> bool:
        """False: a server's states stay there."""
        return False

    def stream(self, *, person: int = 0) -> RemoteStream:
        """A new stream with an initial state, whose poses have that person's id."""
        return RemoteStream(self, person)

    def step_batch(self, frames: Mapping[RemoteStream, ArrayLike], *, t: float | None = None) -> dict[RemoteStream, Pose]:
        """One frame for each of these streams, together. The first refusal is raised.

        Frames are checked here first, as ``Model.step_batch`` does: if one is refused by that, none is sent. What only the
        server refuses costs the others their poses, but not their frames: see ``step_each``.
        """
        with self._lock:
            accepted = {stream: stream._accept(x, t) for stream, x in self._own(frames).items()}
            answers = self._lift(accepted)
        poses = {stream: answer for stream, answer in answers.items() if isinstance(answer, Pose)}
        for answer in answers.values():
            if isinstance(answer, FrameError):
                raise answer
        return poses

    def step_each(
        self, frames: Mapping[RemoteStream, ArrayLike], *, t: float | Mapping[RemoteStream, float] | None = None
    ) -> dict[RemoteStream, Pose | FrameError]:
        """One frame for each of these streams, together: the pose, or why the frame was refused.

        Args:
            t: the capture time of all frames, or that of each stream's.
        """
        with self._lock:
            answers: dict[RemoteStream, Pose | FrameError] = {}
            accepted: dict[RemoteStream, Frame] = {}
            for stream, x in self._own(frames).items():
                try:
                    accepted[stream] = stream._accept(x, t[stream] if isinstance(t, Mapping) else t)
                except FrameError as error:
                    answers[stream] = error
            return answers | self._lift(accepted)

    def close(self) -> None:
        """End the connection; the server forgets the people after its idle time. A second call does nothing."""
        with self._lock:
            self._closed = True
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def __enter__(self) -> RemoteModel:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _own(self, frames: Mapping[RemoteStream, ArrayLike]) -> Mapping[RemoteStream, ArrayLike]:
        if self._closed:
            raise UsageError("the model is closed", expected="a model that RemoteModel.connect(...) opened")
        if any(stream._model is not self for stream in frames):
            raise UsageError("the stream belongs to another model", expected="streams of this model")
        return frames

    def _lift(self, frames: Mapping[RemoteStream, Frame]) -> dict[RemoteStream, Pose | FrameError]:
        """Send frames until they are answered or ``patience_s`` is over; whom the server does not know begins anew there."""
        answers: dict[RemoteStream, Pose | FrameError] = {}
        waiting = dict(frames)
        restarted: set[RemoteStream] = set()
        while waiting:
            try:
                connection = self._connected()
                self._resume(connection, waiting)
                answered = self._send(connection, waiting)
            except ConnectionLost as error:
                self._lose(error)
                if self._impatient:
                    what = f"the server {self.url} is not there: {error}"
                    return answers | dict.fromkeys(waiting, FrameError(what, expected="it to come back: everybody resumes"))
                continue
            unknown = {stream for stream, answer in answered.items() if answer is None} - restarted
            restarted |= unknown
            for stream, answer in answered.items():
                if stream in unknown:
                    continue
                answers[stream] = answer or FrameError("the server does not keep this person", expected="room: serve --people")
                if isinstance(answer, Pose):
                    stream._remember(waiting[stream], self.replay_s)
            waiting = {stream: waiting[stream] for stream in unknown}
        return answers

    @property
    def _impatient(self) -> bool:
        return self._lost_s is not None and time.monotonic() - self._lost_s >= self.patience_s

    def _connected(self) -> Connection:
        """The connection, opened anew if it was lost."""
        if self._connection is None:
            impatient = self._impatient
            pause_s = self._tried_s + (IMPATIENT_RETRY_S if impatient else RETRY_S) - time.monotonic()
            if pause_s > 0:
                if impatient:
                    raise ConnectionLost("the next try to connect follows within a second")
                time.sleep(pause_s)
            try:
                self._connection = Connection(self.url, timeout_s=IMPATIENT_CONNECT_S if impatient else CONNECT_S)
            finally:
                self._tried_s = time.monotonic()
            self._generation += 1
        return self._connection

    def _lose(self, error: ConnectionLost) -> None:
        if self._lost_s is None:
            self._lost_s = time.monotonic()
            self._notice(f"the server {self.url} was lost: {error}")
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _resume(self, connection: Connection, streams: Iterable[RemoteStream]) -> None:
        """Send the last frames again of those whom the server does not hold."""
        resuming = [stream for stream in streams if not self._holds(stream) and stream._past]
        requests = [self._request(stream, frame, start=i == 0) for stream in resuming for i, frame in enumerate(stream._past)]
        if requests:
            replayed = connection.exchange(requests, timeout_s=self._timeout_s + CONNECT_S * math.log2(1 + len(requests)))
            if any(answer is None for answer in replayed):
                raise ConnectionLost("not all of the past was taken in time")
            for stream in resuming:
                stream._generation = self._generation
            self.resumed += len(resuming)
        if self._lost_s is not None:
            self._notice(f"the server {self.url} is back after {time.monotonic() - self._lost_s:.1f} s")
            self._lost_s = None
        if resuming:
            who = "1 person goes" if len(resuming) == 1 else f"{len(resuming)} people go"
            past = f"{len(requests)} frames that were sent again, at most {self.replay_s:g} s of each"
            self._notice(f"{who} on there from {past}")

    def _send(
        self, connection: Connection, frames: Mapping[RemoteStream, Frame]
    ) -> dict[RemoteStream, Pose | FrameError | None]:
        """The answers to frames; None for a person whom the server does not hold."""
        requests = [
            self._request(stream, frame, start=not self._holds(stream), reset=stream._reset) for stream, frame in frames.items()
        ]
        answers: dict[RemoteStream, Pose | FrameError | None] = {}
        responses = connection.exchange(requests, timeout_s=self._timeout_s)
        for stream, response in zip(frames, responses, strict=True):
            stream._generation = self._generation
            if response is None:  # it may yet be taken, so that this sequence must not go on
                answers[stream] = FrameError(f"no answer within {self._timeout_s:g} s", expected="a server that keeps up")
                stream._generation = NEVER
            elif wire.UNKNOWN in response.error_message:
                answers[stream] = None
                stream._generation = NEVER
            elif response.error_message:
                answers[stream] = FrameError(response.error_message.removeprefix(wire.REFUSED))
            else:
                answers[stream] = pose_of_response(response.infer_response, stream._person, self.latency_frames)
                stream._reset = False
        return answers

    def _holds(self, stream: RemoteStream) -> bool:
        """Whether the server holds a stream's state, as far as is known here."""
        return stream._generation == self._generation

    def _goodbye(self, stream: RemoteStream) -> None:
        with self._lock:
            if self._connection is not None and self._holds(stream):
                request = self._request(stream, None, end=True)
                try:
                    self._connection.exchange([request], timeout_s=GOODBYE_S)
                except ConnectionLost as error:
                    self._lose(error)

    def _request(
        self, stream: RemoteStream, frame: Frame | None, *, start: bool = False, end: bool = False, reset: bool = False
    ) -> Any:
        return frame_request(self.name, stream._sequence, frame, start=start, end=end, reset=reset)
