"""Rerun's server of recordings and of the viewer in a browser, as a process of its own.

The server that Rerun's Python package starts inside a process listens on all interfaces and cannot be stopped. The program
``rerun`` of the same package takes an address to bind to.
"""

from __future__ import annotations

import importlib
import logging
import os
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from ..address import LOOPBACK, Address
from ..errors import MissingError, UsageError, missing_extra

READY_WITHIN_S = 30.0
"""The program is of 290 MB: the first start reads it from the disk."""

_ENDS_WITHIN_S = 5.0
_GUARD = ["/bin/sh", "-c", '("$@"; kill 0) & read _; kill 0', "sh"]
"""Runs a program until it ends or until its own standard input does, which it does when this process is killed, too. Both are
in a process group of their own, to which ``kill 0`` goes."""
_EVERYWHERE = ("0.0.0.0", "::")

log = logging.getLogger(__name__)


class RerunServer:
    """The process; it listens when the constructor returns.

    Args:
        web: where the viewer's page is.
        grpc_port: where recordings come in, and go to viewers.
        memory: how much of the past a viewer that comes late is shown: "256MB".

    Raises:
        UsageError: a port is taken, or the address is not of this machine.
        MissingError: the program is not there or does not start.
    """

    def __init__(self, web: Address, *, grpc_port: int, memory: str) -> None:
        program = _program()
        bound = _free(web.host, web.port)
        grpc_port = _free(web.host, grpc_port).port
        host = bound.host if bound.host not in _EVERYWHERE else LOOPBACK
        shown = bound.host if bound.host not in _EVERYWHERE else socket.gethostname()
        self.proxy_url = f"rerun+http://{Address(host, grpc_port)}/proxy"
        """Where a recording, or Rerun's own viewer, connects to."""
        query = f"url={quote(f'rerun+http://{Address(shown, grpc_port)}/proxy', '')}&hide_welcome_screen"
        self.viewer_url = f"http://{Address(shown, bound.port)}/?{query}"
        """What to open in a browser."""
        command = [str(program), "--serve-web", "--bind", bound.host, "--port", str(grpc_port)]
        command += ["--web-viewer-port", str(bound.port), "--server-memory-limit", memory]
        if not bound.is_loopback:
            command += ["--cors-allow-origin", f"http://*:{bound.port}"]
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - of the process, whose end it outlives
        self._process = subprocess.Popen(
            [*_GUARD, *command],
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "RUST_LOG": "warn"},
            start_new_session=True,  # Ctrl-C ends the run, and the run ends the server when everything has reached it
        )
        self._addresses = [Address(host, grpc_port), Address(host, bound.port)]
        try:
            self._wait()
        except BaseException:
            self.close()
            raise
        log.info("Rerun's viewer is at %s", self.viewer_url)

    def close(self) -> None:
        """End the process, and free its ports; a second call does nothing."""
        if self._process.stdin is None or self._process.stdin.closed:
            return
        self._process.stdin.close()
        deadline_s = time.monotonic() + _ENDS_WITHIN_S
        while any(map(_listens, self._addresses)):  # the guard, which is waited for below, may end before the program does
            if time.monotonic() > deadline_s:
                with suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
                break
            time.sleep(0.01)
        self._process.wait()
        self._output.close()

    def _wait(self) -> None:
        """Wait until the process listens at all addresses."""
        deadline_s = time.monotonic() + READY_WITHIN_S
        while not all(map(_listens, self._addresses)):
            try:
                self._process.wait(0.05)
            except subprocess.TimeoutExpired:
                if time.monotonic() < deadline_s:
                    continue
            self._output.seek(0)
            words = self._output.read().decode(errors="replace").split("\n")
            reason = next((line.strip() for line in reversed(words) if line.strip()), f"silent for {READY_WITHIN_S:g} s")
            raise MissingError(f"Rerun's server does not start ({reason})", run='pip install --upgrade "posemoe-edge[rerun]"')


def _program() -> Path:
    try:
        folder = Path(importlib.import_module("rerun_cli").__path__[0])
    except ImportError:
        raise missing_extra("rerun-sdk", "rerun", "the viewer Rerun") from None
    for name in ("rerun", "rerun.exe", "Rerun.app/Contents/MacOS/Rerun"):
        if (folder / name).is_file():
            return folder / name
    raise MissingError(
        f"no program rerun in {folder}", run="pip install --force-reinstall rerun-sdk", expected="the complete package"
    )


def _free(host: str, port: int) -> Address:
    """The address with a number for its host and, for port 0, a port that is free now."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            bound = probe.getsockname()
    except OSError as error:
        raise UsageError(
            f"nothing can listen at {Address(host, port)} ({error.strerror})",
            expected="an address of this machine and a free port: rerun://127.0.0.1:0?grpc=0 takes any",
        ) from None
    return Address(str(bound[0]), int(bound[1]))


def _listens(address: Address) -> bool:
    try:
        socket.create_connection((address.host, address.port), timeout=1.0).close()
    except OSError:
        return False
    return True
