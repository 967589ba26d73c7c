"""A network camera on 127.0.0.1: an RTSP server of GStreamer whose pictures show the wall clock of their capture.

``RtspServer`` starts it as a process of the system's Python, which has the module ``gi``.

Run: /usr/bin/python3 rtsp_server.py PORT WIDTHxHEIGHT h264|h265 [USER PASSWORD]
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PYTHON = "/usr/bin/python3"
FPS = 30
_BITS, _BLOCK, _ROWS = 44, 14, 16  # the clock in ms, one black or white block of 14 x 16 pixels for each bit
_START_S = 20.0


class RtspServer:
    """The server's process. It keeps its port when it is started again.

    Args:
        user, password: that it asks for; None lets everybody in.
        codec: of the pictures, h264 or h265.
    """

    def __init__(self, *, user: str | None = None, password: str | None = None, codec: str = "h264") -> None:
        self.port, self._codec = 0, codec
        self._login = [user, password] if user and password else []
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/cam"

    def start(self, *, width: int = 640, height: int = 360) -> None:
        command = [PYTHON, str(Path(__file__)), str(self.port), f"{width}x{height}", self._codec, *self._login]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the RTSP server did not start")
        self.port = int(line)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate(timeout=_START_S)
            self._process = None

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


def why_not(codec: str = "h264") -> str | None:
    """Why the server cannot run here with that codec; None if it can."""
    code = (
        "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gst, GstRtspServer; Gst.init(None);"
    )
    names = (f"x{codec[1:]}enc", f"{codec}parse", f"rtp{codec}pay", f"avdec_{codec}")
    code += f"assert all(Gst.ElementFactory.find(name) for name in {names}), 'no plugins for {codec}'"
    try:
        tried = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, timeout=60)
    except OSError:
        return f"no {PYTHON}"
    reason = tried.stderr.strip().splitlines()[-1:] or ["failed"]
    return None if tried.returncode == 0 else f"GstRtspServer in {PYTHON}: {reason[0]}"


def read_clock_s(image_bgr: Any) -> float:
    """Seconds since 1970 when the (H, W, 3) picture was made."""
    row = image_bgr[_ROWS // 2, _BLOCK // 2 : _BITS * _BLOCK : _BLOCK, 1]
    return sum(1 << bit for bit, value in enumerate(row) if value > 127) / 1000


def _picture(number: int, width: int, height: int, background: bytes) -> bytes:
    """I420: the clock above a pattern that moves to the left."""
    now_ms = time.time_ns() // 1_000_000
    clock = b"".join((b"\xff" if now_ms >> bit & 1 else b"\x00") * _BLOCK for bit in range(_BITS))
    rows = (clock + bytes(width - len(clock))) * _ROWS
    first = number * 3 % width
    return rows + background[first : first + width * (height - _ROWS)] + b"\x80" * (width * height // 2)


def _serve(port: int, width: int, height: int, codec: str, login: list[str]) -> None:
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtspServer

    Gst.init(None)
    background = bytes(64 + (x * 5 // 4) % 128 for x in range(width)) * (height + 1)
    # A picture of several slices is decoded by FFmpeg before it is complete: one slice, one thread.
    one_slice = {"h264": "sliced-threads=false threads=1", "h265": "option-string=slices=1:pools=1"}[codec]
    encoder = f"x{codec[1:]}enc tune=zerolatency speed-preset=ultrafast key-int-max={FPS} bitrate=2500 {one_slice}"
    launch = (
        f"( appsrc name=pictures is-live=true format=time do-timestamp=true"
        f" caps=video/x-raw,format=I420,width={width},height={height},framerate={FPS}/1"
        f" ! {encoder} ! {codec}parse config-interval=-1 ! rtp{codec}pay name=pay0 pt=96 config-interval=-1 )"
    )
    number = 0

    def begin(_: Any, media: Any) -> None:
        source = media.get_element().get_child_by_name("pictures")

        def push() -> bool:
            nonlocal number
            number += 1
            picture = _picture(number, width, height, background)
            return bool(source.emit("push-buffer", Gst.Buffer.new_wrapped(picture)) == Gst.FlowReturn.OK)

        GLib.timeout_add(1000 // FPS, push)

    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(launch)
    factory.set_shared(True)
    factory.set_publish_clock_mode(GstRtspServer.RTSPPublishClockMode.CLOCK)
    factory.connect("media-configure", begin)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(str(port))
    if login:
        auth, token = GstRtspServer.RTSPAuth(), GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "user")
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(*login), token)
        server.set_auth(auth)
        factory.add_role_from_structure(
            Gst.Structure.from_string("user,media.factory.access=true,media.factory.construct=true")[0]
        )
    server.get_mount_points().add_factory("/cam", factory)
    server.attach(None)
    print(server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    _width, _height = map(int, sys.argv[2].split("x"))
    _serve(int(sys.argv[1]), _width, _height, sys.argv[3], login=sys.argv[4:])
