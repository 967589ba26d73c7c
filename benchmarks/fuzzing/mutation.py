"""Changed bytes: what a broken disk, a broken program or an attacker makes of a file."""

from __future__ import annotations

import io
import random
import struct
import zipfile

_NUMBERS = (b"0", b"-1", b"1e999", b"NaN", b"null", b"9" * 20, b"1000000000000", b"[]", b"{}", b'""', b"\xff\xfe", b"\\ud800")
_STRUCTURE = (b"[" * 5000, b"{", b"}", b"]", b'"', b",", b":", b"\0", b"\n", b"&a [*a]", b"<", b">", b"(" * 300)


def mutated(data: bytes, rng: random.Random) -> bytes:
    """The data with one to four changes; of a zip archive often inside an entry, so that its checksums fit."""
    if zipfile.is_zipfile(io.BytesIO(data)) and rng.random() < 0.7:
        return _mutated_entry(data, rng)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        data = _changed(data, rng)
    return data


def _mutated_entry(data: bytes, rng: random.Random) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(out, "w") as copy:
        entries = archive.infolist()
        chosen = rng.randrange(len(entries))
        for number, entry in enumerate(entries):
            content = archive.read(entry)
            copy.writestr(entry.filename, _changed(content, rng) if number == chosen else content)
    return out.getvalue()


def _changed(data: bytes, rng: random.Random) -> bytes:
    data = data or b"\0"
    at, other = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
    text = data.isascii() and rng.random() < 0.5  # else most changes of text end in its first parser
    match 9 if text else rng.randrange(10):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + data[min(other, at + 64) :]
        case 2:
            return data[:at] + rng.choice(_NUMBERS) + data[at:]
        case 3:
            return data[:at] + rng.choice(_STRUCTURE) + data[at + 1 :]
        case 4:
            return data[:at] + struct.pack("<Q", rng.choice((0, 2**31, 2**40, 2**63, 2**64 - 1))) + data[at + 8 :]
        case 5:
            return data[:at] + rng.randbytes(rng.randint(1, 8)) + data[at + 4 :]
        case 6:
            return data[:other] + data[at:]
        case 7 | 8:
            new = bytearray(data)
            for _ in range(rng.randint(1, 4)):
                new[rng.randrange(len(new))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            return bytes(new)
        case _:
            digits = [i for i, byte in enumerate(data[:100_000]) if 48 <= byte <= 57]
            if not digits:
                return data[:at]
            begin = end = rng.choice(digits)
            while begin and data[begin - 1] in b"0123456789.-e":
                begin -= 1
            while end < len(data) and data[end] in b"0123456789.-e":
                end += 1
            return data[:begin] + rng.choice(_NUMBERS) + data[end:]
