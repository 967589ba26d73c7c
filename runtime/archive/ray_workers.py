"""The clips of an archive on the machines of a Ray cluster: Ray Data hands out single clips, and actors keep a model each.

Clips, model and folder of results lie on storage that every machine sees at the same path. Needs ray and pyarrow.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ... import __version__
from ..artefact.atomic import draft_folder
from ..errors import ArtefactError, MissingError, PoseEdgeError, missing_extra
from .clip_lifter import ClipLifter, Job, LiftOptions, Outcome
from .workers import OnOutcome, one_thread_each

_CONNECT_S = 5.0
_LOST = "the machine or the process that lifted it died, twice: out of memory, or an error in a library"
_MOST_ATTEMPTS = 2
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LOGGERS = ("ray", "ray.data")  # they print a traceback for each clip that is lost


class RayCluster:
    """A connection to a Ray cluster, as a context manager.

    Args:
        address: "auto" for the cluster that this machine belongs to, ``HOST:PORT`` of its head, or "local" to start one here.

    Raises:
        MissingError: ray is not installed, or there is no such cluster.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._ray = _import_ray()

    def __enter__(self) -> RayCluster:
        ray = self._ray
        self._own = not ray.is_initialized()
        if self._own:
            _check_reachable(self._address)
            with _kept_signals(), one_thread_each(), _stdout_kept():
                try:
                    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
                    ray.init(address=self._address, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=None)
                except (ConnectionError, RuntimeError, ValueError) as error:
                    raise _no_cluster(self._address, str(error).partition("\n")[0]) from None
        return self

    def __exit__(self, *error: object) -> None:
        if self._own:
            with _stdout_kept():
                self._ray.shutdown()

    def slots(self, *, gpu: bool) -> int:
        """How many actors the cluster has room for: one for each core, or for each GPU."""
        return max(1, int(self._ray.cluster_resources().get("GPU" if gpu else "CPU", 1)))

    @property
    def machines(self) -> int:
        return sum(bool(node["Alive"]) for node in self._ray.nodes())

    def lift(
        self, jobs: Sequence[Job], options: LiftOptions, out: Path, *, workers: int, gpu: bool, on_outcome: OnOutcome
    ) -> None:
        """Lift clips on the cluster.

        A clip whose machine or process dies is lifted once more. An interrupt ends the actors; what they finished stays.

        Args:
            options: with absolute paths, and with the engine and the precision named, so that all machines use the same.
            out: the folder of results, with a folder of drafts for the time of the work: it shows that a machine sees it.
            workers: how many actors, of one core, or one GPU, each.
            on_outcome: called in this process with what came of each clip, in the order in which they end.

        Raises:
            MissingError: a machine does not see the files, or cannot open the model; the message names it.
            ArtefactError: a machine has another version of posemoe-edge.
        """
        import ray.data

        context = ray.data.DataContext.get_current()
        context.enable_progress_bars, context.max_errored_blocks = False, -1  # an errored block is a clip that is lost
        context.print_on_execution_start = False
        for name in _LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        lost = {job.source: job for job in jobs}
        with draft_folder(out.absolute(), "lift") as attempts, _stdout_kept():
            rows = [{"job": json.dumps(asdict(job), default=str)} for job in jobs]
            results = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
                _Lift,
                fn_constructor_args=(options, str(attempts), __version__),
                compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=1),
                **({"num_gpus": 1} if gpu else {"num_cpus": 1}),
            )
            for row in results.iter_rows():
                outcome = _received(row)
                lost.pop(outcome.source, None)
                on_outcome(outcome)
        for job in lost.values():
            on_outcome(Outcome(job.source, job.target, 0.0, failure={"what": _LOST, "expected": None, "run": None}))


class _Lift:
    """An actor: a model, opened once. What is wrong with its machine is said by its first clip: dying says nothing."""

    def __init__(self, options: LiftOptions, attempts: str, version: str) -> None:
        os.dup2(2, 1)
        self._attempts = Path(attempts)
        self._fault: dict[str, str | None] | None = None
        if version != __version__:
            self._fault = {"what": f"it has posemoe-edge {__version__}", "expected": version, "version": "differs"}
        elif not self._attempts.is_dir():
            self._fault = {
                "what": f"it does not see the folder {self._attempts.parent.parent}",
                "expected": "a path that all machines share",
            }
        else:
            try:
                self._lifter = ClipLifter(options)
            except PoseEdgeError as error:
                self._fault = {"what": error.what, "expected": error.expected, "run": error.run}

    def __call__(self, row: dict[str, Any]) -> dict[str, str]:
        if self._fault is not None:
            return {"fault": json.dumps({"machine": socket.gethostname(), **self._fault}), "outcome": ""}
        job = json.loads(row["job"])
        outcome = self._lift(Job(**job | {"path": Path(job["path"]), "target": Path(job["target"])}))
        return {"fault": "", "outcome": json.dumps(asdict(outcome), default=str)}

    def _lift(self, job: Job) -> Outcome:
        """What came of a clip. Ray lifts a clip whose actor died again, for ever: its attempts are counted in a file."""
        attempts = self._attempts / hashlib.sha256(job.source.encode(errors="surrogateescape")).hexdigest()
        if attempts.exists() and attempts.stat().st_size >= _MOST_ATTEMPTS:
            return Outcome(job.source, job.target, 0.0, failure={"what": _LOST, "expected": None, "run": None})
        with attempts.open("ab") as file:
            file.write(b"x")
        outcome = self._lifter.lift(job)
        attempts.unlink()
        return outcome


def _received(row: dict[str, str]) -> Outcome:
    """What an actor returned.

    Raises:
        MissingError, ArtefactError: its machine cannot lift.
    """
    if row["fault"]:
        fault = json.loads(row["fault"])
        kind = ArtefactError if "version" in fault else MissingError
        raise kind(f"the machine {fault['machine']}: {fault['what']}", expected=fault["expected"], run=fault.get("run"))
    fields = json.loads(row["outcome"])
    return Outcome(**fields | {"target": Path(fields["target"]), "warnings": tuple(fields["warnings"])})


def _import_ray() -> Any:
    try:
        import pyarrow  # noqa: F401  (of ray.data)
        import ray
        import ray.data
    except ImportError as error:
        raise missing_extra(error.name or "ray", "ray", "lifting on many machines") from None
    return ray


def _check_reachable(address: str) -> None:
    """Ray itself tries for minutes."""
    host, colon, port = address.rpartition(":")
    if not colon or "/" in host or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_S).close()
    except OSError as error:
        raise _no_cluster(address, error.strerror or str(error)) from None


def _no_cluster(address: str, reason: str) -> MissingError:
    return MissingError(
        f"no Ray cluster at {address} ({reason})", expected="auto, or HOST:PORT of its head", run="ray start --head"
    )


@contextmanager
def _kept_signals() -> Iterator[None]:
    """Ray installs a handler of SIGTERM; afterwards there are those from before."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        with suppress(ValueError):  # not in the main thread
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def _stdout_kept() -> Iterator[None]:
    """What Ray prints goes to stderr: stdout is the caller's."""
    sys.stdout.flush()
    own = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(own, 1)
        os.close(own)
