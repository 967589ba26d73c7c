"""posemoe-edge sign"""

from __future__ import annotations

from pathlib import Path

import click

from ...runtime.artefact.manifest import MANIFEST, check_file, parse_manifest
from ...runtime.artefact.signature import SIGNATURE, make_key, sign_manifest
from ...runtime.artefact.transaction import locked
from ...runtime.command_line import command_line
from ...runtime.errors import MissingError, UsageError
from .options import FILE
from .output import Output, Result, verb


@click.command("sign")
@click.argument("artefact", type=click.Path(path_type=Path), required=False)
@click.option("--key", type=FILE, help="The private key to sign with (PEM, Ed25519).")
@click.option(
    "--new-key",
    type=FILE,
    help="Write a new private key, and its public one to FILE.pub.",
)
@click.option("--remove", is_flag=True, help="Remove ARTEFACT's signature, so that it can be changed.")
@verb
def command(out: Output, artefact: Path | None, key: Path | None, new_key: Path | None, remove: bool) -> Result:
    """Sign ARTEFACT with all its files, so that `run --require-signature` runs it and nothing else."""
    if new_key is not None:
        if artefact is not None or key is not None or remove:
            raise UsageError("--new-key with something else", expected="--new-key FILE alone")
        was_there = new_key.exists()
        public = make_key(new_key)
        begin = f"{new_key} lacked its public key: wrote" if was_there else f"Wrote {new_key}, which stays with you, and"
        out.print(f"{begin} {public}, which goes to the robots")
        return Result(
            {"key": str(new_key), "public_key": str(public)}, next_command=command_line("sign", "ARTEFACT", "--key", new_key)
        )
    if artefact is None or (key is None) != remove:
        raise UsageError("nothing to sign, or no key", expected="ARTEFACT --key FILE, ARTEFACT --remove or --new-key FILE")
    if key is None:
        (artefact / SIGNATURE).unlink(missing_ok=True)
        out.print(f"{artefact} is not signed any more")
        return Result({"artefact": str(artefact), "signed": False})
    path = artefact / MANIFEST
    if not path.is_file():
        raise MissingError(
            f"there is no artefact at {artefact}", expected=f"a folder with a {MANIFEST}", run="posemoe-edge export"
        )
    with locked(artefact):
        text = path.read_bytes()
        manifest = parse_manifest(text, str(path))
        for name in manifest.files:
            check_file(artefact, manifest, name)
        signature = sign_manifest(path, text, key)
    out.print(f"Signed {artefact} with {len(manifest.files)} files; the public key is {signature.public_key}")
    data = {"artefact": str(artefact), "signed": True, "public_key": signature.public_key}
    return Result(
        data, next_command=command_line("run", "synthetic://walk", "--model", artefact, "--require-signature", "FILE.pub")
    )
