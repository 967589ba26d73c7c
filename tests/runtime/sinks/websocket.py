"""A client of WebSockets (RFC 6455) with nothing but the standard library: text out, text and bytes in."""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
from typing import Any
from urllib.parse import urlsplit

TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9


class WebSocket:
    """A connection; every wait ends after ``timeout_s``."""

    def __init__(self, url: str, *, subprotocol: str, timeout_s: float = 10.0) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None and parts.port is not None
        self._socket = socket.create_connection((parts.hostname, parts.port), timeout=timeout_s)
        self._file = self._socket.makefile("rb")
        lines = [
            "GET / HTTP/1.1",
            f"Host: {parts.netloc}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Protocol: {subprotocol}",
        ]
        self._socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        self.status = self._file.readline().decode()
        self.headers = dict[str, str]()
        while line := self._file.readline().decode().strip():
            name, _, value = line.partition(":")
            self.headers[name.lower()] = value.strip()

    def send(self, message: dict[str, Any]) -> None:
        """Send JSON as text, masked as a client must."""
        data, mask = json.dumps(message).encode(), os.urandom(4)
        size = bytes([0x80 | len(data)]) if len(data) < 126 else bytes([0x80 | 126]) + struct.pack(">H", len(data))
        masked = bytes(byte ^ mask[k % 4] for k, byte in enumerate(data))
        self._socket.sendall(bytes([0x80 | TEXT]) + size + mask + masked)

    def receive(self) -> dict[str, Any] | bytes:
        """The next message: the object of a text, or bytes."""
        data, kind = b"", 0
        while True:
            first, size = self._file.read(2)
            opcode, size = first & 15, size & 127
            if size >= 126:
                size = struct.unpack(">H" if size == 126 else ">Q", self._file.read(2 if size == 126 else 8))[0]
            part = self._file.read(size)
            if opcode == CLOSE:
                raise ConnectionError("closed by the server")
            if opcode == PING:
                continue
            kind, data = opcode or kind, data + part  # 0: the message goes on
            if first & 0x80:
                return dict(json.loads(data)) if kind == TEXT else data

    def close(self) -> None:
        self._file.close()
        self._socket.close()
