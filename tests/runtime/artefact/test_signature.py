"""Signatures: what was signed runs, and nothing else."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from posemoe_edge.runtime import load
from posemoe_edge.runtime.artefact.certificate import CERTIFICATE
from posemoe_edge.runtime.artefact.manifest import MANIFEST, read_manifest, replace_files
from posemoe_edge.runtime.artefact.signature import SIGNATURE, make_key, sign_manifest
from posemoe_edge.runtime.errors import ArtefactError, CheckFailedError, MissingError, UsageError

pytest.importorskip("cryptography", reason="the extra sign is not installed")


@pytest.fixture
def public(tmp_path: Path) -> Path:
    return make_key(tmp_path / "key")


@pytest.fixture
def signed(certified_artefact: Path, public: Path, tmp_path: Path) -> Path:
    path = certified_artefact / MANIFEST
    sign_manifest(path, path.read_bytes(), tmp_path / "key")
    return certified_artefact


def drop_certificate(folder: Path) -> None:
    data = json.loads((folder / MANIFEST).read_text())
    del data["files"][CERTIFICATE]
    (folder / MANIFEST).write_text(json.dumps(data))


def test_a_signed_artefact_runs_with_its_key(signed: Path, public: Path) -> None:
    assert load(signed, require_signature=public).certificate is not None
    assert load(signed).certificate is not None


def test_line_ends_do_not_break_a_signature(signed: Path, public: Path) -> None:
    for name in (MANIFEST, SIGNATURE):
        (signed / name).write_bytes((signed / name).read_bytes().replace(b"\n", b"\r\n"))
    assert load(signed, require_signature=public).certificate is not None


def test_an_unsigned_artefact_and_anothers_are_refused(signed: Path, public: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckFailedError, match="is not signed by"):
        load(signed, require_signature=make_key(tmp_path / "other"))
    (signed / SIGNATURE).unlink()
    with pytest.raises(CheckFailedError, match="is not signed"):
        load(signed, require_signature=public)
    load(signed)


def test_a_certificate_that_was_dropped_is_noticed(signed: Path, public: Path) -> None:
    drop_certificate(signed)
    for options in ({}, {"require_signature": public}):
        with pytest.raises(ArtefactError, match="changed after it was signed"):
            load(signed, **options)  # type: ignore[arg-type]


def test_a_signature_that_speaks_of_another_manifest_does_not_hold(signed: Path, public: Path) -> None:
    import hashlib

    drop_certificate(signed)
    path = signed / SIGNATURE
    forged = json.loads(path.read_text()) | {"manifest_sha256": hashlib.sha256((signed / MANIFEST).read_bytes()).hexdigest()}
    path.write_text(json.dumps(forged))
    with pytest.raises(CheckFailedError, match="is not signed by"):
        load(signed, require_signature=public)


def test_a_changed_graph_is_refused(signed: Path, public: Path) -> None:
    path = signed / "step.fp32.onnx"
    path.write_bytes(path.read_bytes() + b"\x72\x00")
    with pytest.raises(ArtefactError, match="has"):
        load(signed, require_signature=public)


def test_a_signed_artefact_is_not_changed(signed: Path) -> None:
    with pytest.raises(UsageError, match=r"is signed.*sign .* --remove"):
        replace_files(signed, read_manifest(signed), {"more.json": b"{}"})
    assert not (signed / "more.json").exists()


def test_engines_that_run_something_else_are_refused(signed: Path, public: Path) -> None:
    for engine in ("tensorrt", "torch"):
        with pytest.raises(UsageError, match="runs what is not signed"):
            load(signed, require_signature=public, engine=engine)
    with pytest.raises(UsageError, match="standalone graph"):
        load(signed / "step.fp32.onnx", require_signature=public)


def test_a_private_key_whose_public_one_was_not_written_gets_it(tmp_path: Path, public: Path) -> None:
    text = public.read_text()
    private = (tmp_path / "key").read_bytes()
    public.unlink()
    assert make_key(tmp_path / "key") == public and public.read_text() == text
    assert (tmp_path / "key").read_bytes() == private
    (tmp_path / "text").write_text("no key")
    with pytest.raises(UsageError, match="cannot be read as a key"):
        make_key(tmp_path / "text")
    assert not (tmp_path / "text.pub").exists()


def test_keys_are_private_are_not_overwritten_and_must_be_keys(tmp_path: Path, public: Path, certified_artefact: Path) -> None:
    assert (tmp_path / "key").stat().st_mode & 0o077 == 0 and public == tmp_path / "key.pub"
    with pytest.raises(UsageError, match="exists"):
        make_key(tmp_path / "key")
    path = certified_artefact / MANIFEST
    (tmp_path / "text").write_text("no key")
    for key, error in ((public, UsageError), (tmp_path / "text", UsageError), (tmp_path / "none", MissingError)):
        with pytest.raises(error):
            sign_manifest(path, path.read_bytes(), key)
    assert not (certified_artefact / SIGNATURE).exists()


def test_a_signature_cannot_be_checked_without_cryptography(
    signed: Path, public: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("cryptography", "cryptography.exceptions", "cryptography.hazmat.primitives"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingError, match=r"cryptography, which is not installed.*posemoe-edge\[sign\]"):
        load(signed, require_signature=public)


def test_nobody_is_told_to_make_a_new_key_where_the_public_key_of_a_signature_is_missing(signed: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="there is no key") as raised:
        load(signed, require_signature=tmp_path / "lost.pub")
    assert raised.value.run is None and "public Ed25519 key" in str(raised.value)


def test_the_command_that_makes_a_key_can_be_pasted(signed: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingError) as raised:
        sign_manifest(signed / MANIFEST, b"", tmp_path / "my key")
    assert raised.value.run == f"posemoe-edge sign --new-key '{tmp_path / 'my key'}'"
