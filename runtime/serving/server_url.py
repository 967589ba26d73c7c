"""Where a Triton is: ``grpc://HOST:PORT/MODEL``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..address import Address
from ..errors import MissingError, UsageError, missing_extra

FORM = "grpc://HOST:PORT, grpc://HOST:PORT/MODEL, or grpcs:// with TLS and ?ca=FILE&cert=FILE&key=FILE"
_TLS = ("ca", "cert", "key")


@dataclass(frozen=True)
class ServerUrl:
    """A Triton, and the model there.

    Args:
        model: None is the only model of people that it has.
        tls: the connection is encrypted; ``ca``, ``cert`` and ``key`` are options of the address.
    """

    address: Address
    model: str | None
    tls: bool

    @classmethod
    def parse(cls, url: str) -> ServerUrl:
        """The server of a URL.

        Raises:
            UsageError: a part is missing, is not known, or is not what it should be.
        """
        scheme, separator, rest = url.partition("://")
        if not separator or scheme not in ("grpc", "grpcs"):
            raise UsageError(f"the server {url!r}", expected=FORM)
        place, _, query = rest.partition("?")
        host, _, model = place.partition("/")
        tls = scheme == "grpcs"
        address = Address.parse(f"//{host}?{query}", form=FORM, options=_TLS if tls else ())
        if ("cert" in address.options) != ("key" in address.options):
            raise UsageError("half a pair of cert and key", expected=FORM)
        return cls(address, model or None, tls)

    def __str__(self) -> str:
        return f"{'grpcs' if self.tls else 'grpc'}://{self.address}{f'/{self.model}' if self.model else ''}"

    def channel(self) -> Any:
        """A new channel of gRPC, which connects by itself.

        Raises:
            MissingError: the package is not installed, or a file of the options is not there.
        """
        grpc, _, _ = bindings()
        options = [("grpc.use_local_subchannel_pool", 1)]  # nobody else's channel decides when this one is tried again
        if not self.tls:
            return grpc.insecure_channel(str(self.address), options)
        ca, cert, key = (_content(self.address.options.get(name)) for name in _TLS)
        return grpc.secure_channel(str(self.address), grpc.ssl_channel_credentials(ca, key, cert), options)


def bindings() -> tuple[Any, Any, Any]:
    """gRPC, and Triton's messages and service in tritonclient.

    Raises:
        MissingError: they are not installed.
    """
    try:
        import grpc
        from tritonclient.grpc import service_pb2, service_pb2_grpc
    except ImportError as error:
        raise missing_extra(error.name or "tritonclient", "serve", "a Triton") from None
    return grpc, service_pb2, service_pb2_grpc


def _content(file: str | None) -> bytes | None:
    if file is None:
        return None
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise MissingError(f"{file} cannot be read ({error.strerror})", expected="a file of PEM") from None
