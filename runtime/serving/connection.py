"""One bidirectional stream of requests to a Triton: many requests are on their way at once, each with an id of its own."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from typing import Any

from .server_url import ServerUrl, bindings


class ConnectionLost(Exception):
    """The stream is broken, and what was on its way may or may not have arrived."""


class Connection:
    """An open stream. It ends with the first error of its own, never with that of a request.

    Args:
        timeout_s: for the connection to be there.

    Raises:
        ConnectionLost: the server is not there.
        MissingError: tritonclient is not installed.
    """

    def __init__(self, url: ServerUrl, *, timeout_s: float) -> None:
        self._grpc, _, service = bindings()
        address = (url.address.host, url.address.port)
        try:  # says at once that nobody listens, which gRPC would keep to itself, and try again
            socket.create_connection(address, timeout=timeout_s).close()
        except OSError as error:
            raise ConnectionLost(str(error)) from None
        self.channel = url.channel()
        try:
            self._grpc.channel_ready_future(self.channel).result(timeout=timeout_s)
        except self._grpc.FutureTimeoutError:
            self.channel.close()
            raise ConnectionLost(f"no gRPC within {timeout_s:g} s") from None
        self.stub = service.GRPCInferenceServiceStub(self.channel)
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._ids = count()
        self._call = self.stub.ModelStreamInfer(iter(self._requests.get, None))
        threading.Thread(target=self._read, name="triton", daemon=True).start()

    def exchange(self, requests: Sequence[Any], *, timeout_s: float) -> list[Any]:
        """The ``ModelStreamInferResponse`` of each ``ModelInferRequest``; None where none came in time, while others did.

        Raises:
            ConnectionLost: the stream broke, or nothing at all came in time.
        """
        waiting: dict[str, int] = {}
        for i, request in enumerate(requests):
            request.id = str(next(self._ids))
            waiting[request.id] = i
            self._requests.put(request)
        answers: list[Any] = [None] * len(requests)
        give_up_s = time.monotonic() + timeout_s
        while waiting:
            try:
                answer = self._answers.get(timeout=max(give_up_s - time.monotonic(), 0.0))
            except queue.Empty:
                if len(waiting) == len(requests):
                    raise ConnectionLost(f"no answer within {timeout_s:g} s") from None
                return answers
            if isinstance(answer, ConnectionLost):
                raise answer
            which = waiting.pop(answer.infer_response.id, None)
            if which is not None:  # else it came too late, and nobody waits for it any more
                answers[which] = answer
            elif answer.error_message and not answer.infer_response.id:
                raise ConnectionLost(answer.error_message)  # of the stream, or of a Triton that does not say of which request
        return answers

    def close(self) -> None:
        """End the stream; a second call does nothing."""
        self._requests.put(None)
        with suppress(Exception):  # of a channel that is broken already
            self._call.cancel()
            self.channel.close()

    def _read(self) -> None:
        try:
            for response in self._call:
                self._answers.put(response)
            reason = "the server ended the stream"
        except self._grpc.RpcError as error:
            reason = f"{error.code().name}, {error.details()}"
        self._answers.put(ConnectionLost(reason))
