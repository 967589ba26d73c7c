"""Signatures: who vouches for an artefact. The manifest is signed, which names every other file by its hash.

A signed artefact is not changed: whoever has another certificate or graph for it removes the signature first, and signs again.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

from ..command_line import command_line
from ..errors import ArtefactError, CheckFailedError, MissingError, UsageError, missing_extra
from ..file_kind import check_stand_in
from .atomic import AtomicFile, write_atomically
from .record import Record, read_record

SIGNATURE = "manifest.sig"
SIGNATURE_SCHEMA = 1
PUBLIC = ".pub"


class Signature(Record):
    """The content of ``manifest.sig``. Anybody can compare ``manifest_sha256``.

    Args:
        schema_version: of this record.
        algorithm: by which the manifest was signed.
        public_key: of who signed, in hexadecimal.
        manifest_sha256: of the manifest without carriage returns.
        signature: of the same bytes, in hexadecimal.
    """

    schema_version: int
    algorithm: Literal["ed25519"]
    public_key: str
    manifest_sha256: str
    signature: str


def make_key(path: Path) -> Path:
    """Write a new private key (PEM, for its owner alone to read), and beside it the public one, whose path is returned.

    A private key without its public one, as an interruption between the two leaves it, is kept and gets it.

    Raises:
        UsageError: there is a key already, or a file that is none.
    """
    public = path.with_name(f"{path.name}{PUBLIC}")
    if public.exists():
        raise UsageError(f"{public} exists", expected="a new file: a key that is lost cannot be made again")
    ed25519, serialization = _cryptography()
    if path.exists():
        key = _read_key(path, private=True)
    else:
        key = ed25519.Ed25519PrivateKey.generate()
        secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        draft = AtomicFile(path, mode=0o600)
        with draft.committing():
            draft.partial.write_bytes(secret)
    pem = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    write_atomically(public, pem)
    return public


def sign_manifest(manifest: Path, text: bytes, key: Path) -> Signature:
    """Write the signature of a manifest beside it.

    Args:
        text: the manifest, as it was read by whoever checked what it names.

    Raises:
        MissingError, UsageError: there is no such key, or it is no private Ed25519 key.
    """
    private = _read_key(key, private=True)
    text = _signed_text(text)
    _, serialization = _cryptography()
    public = private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    signature = Signature(
        schema_version=SIGNATURE_SCHEMA,
        algorithm="ed25519",
        public_key=public.hex(),
        manifest_sha256=hashlib.sha256(text).hexdigest(),
        signature=private.sign(text).hex(),
    )
    write_atomically(manifest.with_name(SIGNATURE), signature.model_dump_json(indent=1).encode())
    return signature


def check_signature(manifest: Path, text: bytes, public_key: Path | None = None) -> None:
    """Check a manifest that was read against the signature beside it, if there is one.

    Args:
        text: the manifest.
        public_key: whose signature there must be; None takes any, and compares hashes alone.

    Raises:
        ArtefactError: the manifest was changed after it was signed.
        CheckFailedError: it is not signed by that key.
        MissingError, UsageError: there is no such key.
    """
    path = manifest.with_name(SIGNATURE)
    if not path.is_file():
        if public_key is not None:
            raise CheckFailedError(f"{manifest.parent} is not signed", expected=f"a signature by {public_key}")
        return
    run = command_line("sign", manifest.parent, "--key", "FILE")
    check_stand_in(path, expected="a signature", text=True)
    signature = read_record(
        Signature,
        path.read_bytes(),
        place=str(path),
        noun="a signature",
        version=SIGNATURE_SCHEMA,
        migrations={},
        run=run,
    )
    text = _signed_text(text)
    if hashlib.sha256(text).hexdigest() != signature.manifest_sha256:
        raise ArtefactError(f"{manifest} was changed after it was signed", expected="the signed artefact", run=run)
    if public_key is None:
        return
    key = _read_key(public_key, private=False)
    from cryptography.exceptions import InvalidSignature  # here: where it is not installed, the line before says so

    try:
        key.verify(bytes.fromhex(signature.signature), text)
    except (InvalidSignature, ValueError):
        raise CheckFailedError(
            f"{manifest.parent} is not signed by {public_key}", expected="a signature that this key made"
        ) from None


def check_unsigned(manifest: Path) -> None:
    """Raise a UsageError if there is a signature, which a change would break."""
    if manifest.with_name(SIGNATURE).is_file():
        raise UsageError(
            f"{manifest.parent} is signed, and a change would break its signature",
            expected="an artefact without one",
            run=f"{command_line('sign', manifest.parent, '--remove')}, and sign it again afterwards",
        )


def _signed_text(manifest: bytes) -> bytes:
    """What is signed: the manifest without the carriage returns that git may add."""
    return manifest.replace(b"\r", b"")


def _read_key(path: Path, *, private: bool) -> Any:
    """An Ed25519 key from its PEM file."""
    ed25519, serialization = _cryptography()
    if not path.is_file():
        run = command_line("sign", "--new-key", path) if private else None  # a new key would not be the one that signed
        raise MissingError(f"there is no key {path}", expected=_expected(private), run=run)
    check_stand_in(path, expected=_expected(private), text=True, error=UsageError)
    try:
        data = path.read_bytes()
        key = serialization.load_pem_private_key(data, None) if private else serialization.load_pem_public_key(data)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{path} cannot be read as a key ({error})", expected=_expected(private)) from None
    kind = ed25519.Ed25519PrivateKey if private else ed25519.Ed25519PublicKey
    if not isinstance(key, kind):
        raise UsageError(f"{path} is another kind of key", expected=_expected(private))
    return key


def _expected(private: bool) -> str:
    return "a private Ed25519 key in PEM, without a password" if private else "a public Ed25519 key in PEM"


def _cryptography() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError:
        raise missing_extra("cryptography", "sign", "signing, and checking a signature,") from None
    return ed25519, serialization
