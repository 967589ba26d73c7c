"""The address of a stream without its credentials, for logs, errors and events."""

from __future__ import annotations

import re

_USER = re.compile(r"(\w+://)[^\s'\"]*@")  # up to the last @, since a password may hold / and @
_SECRET = re.compile(
    r"([?&;/_](?:user\w*|login|pass\w*|pwd|pw|\w*token|\w*key|secret|auth\w*|sig\w*)=)[^&;#/?\s'\"]*", re.IGNORECASE
)


def redacted(text: str) -> str:
    """A URL, or a text with URLs in it, in which ``***`` stands for user names, passwords and tokens.

    >>> redacted("rtsp://admin:secret@10.0.0.5/stream?channel=1&token=abc")
    'rtsp://***@10.0.0.5/stream?channel=1&token=***'
    """
    return _SECRET.sub(r"\1***", _USER.sub(r"\1***@", text))
