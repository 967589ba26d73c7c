"""Which model of a Triton lifts people, and what it says of itself."""

from __future__ import annotations

from ..errors import ArtefactError, MissingError, UsageError
from . import wire
from .connection import Connection
from .server_url import FORM, ServerUrl, bindings


def find_model(server: ServerUrl, connection: Connection, timeout_s: float) -> tuple[str, dict[str, str]]:
    """The model's name and its configuration's parameters.

    Raises:
        MissingError: there is no such model.
        UsageError: there are several, or none that lifts people.
        ArtefactError: it is of another version.
    """
    grpc, messages, _ = bindings()
    stub = connection.stub
    try:
        if server.model is None:
            index = stub.RepositoryIndex(messages.RepositoryIndexRequest(ready=True), timeout=timeout_s)
            names = [model.name for model in index.models]
        else:
            names = [server.model]
        found = {}
        for name in names:
            config = stub.ModelConfig(messages.ModelConfigRequest(name=name), timeout=timeout_s).config
            parameters = {key: value.string_value for key, value in config.parameters.items()}
            if "protocol" in parameters:
                found[name] = parameters
    except grpc.RpcError as error:
        raise MissingError(f"{server}: {error.details()}", expected="a model that triton wrote") from None
    if len(found) != 1:
        there = ", ".join(found or names) or "none"
        raise UsageError(f"{server} has {len(found)} models of people, of these: {there}", expected=FORM)
    name, parameters = next(iter(found.items()))
    if parameters["protocol"] != wire.PROTOCOL:
        raise ArtefactError(
            f"{server}: the model {name} speaks version {parameters['protocol']}",
            expected=f"version {wire.PROTOCOL}: the same posemoe-edge on both sides",
        )
    return name, parameters
