"""Commands that are printed can be pasted."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest
from posemoe_edge.runtime.artefact.locate import find_artefact
from posemoe_edge.runtime.artefact.manifest import read_manifest
from posemoe_edge.runtime.command_line import command_line
from posemoe_edge.runtime.errors import ArtefactError

ROOT = Path(__file__).parents[2]
ODD_FOLDERS = ["my robot", "it's", 'say "hi"', "a;b", "$HOME", "walk (1)", "-o"]
PRINTED = re.compile(r"posemoe-edge (demo|train|eval|import|export|calibrate|build|verify|run|replay|inspect|detectors)\b")
SAFE = {"self.name", "self._max_rows"}  # an engine's name and a number


@pytest.mark.parametrize("name", ODD_FOLDERS)
def test_a_shell_reads_the_words_as_they_were(name: str) -> None:
    words = shlex.split(command_line("verify", Path(name), "--frames", 3))
    assert words[:2] == ["posemoe-edge", "verify"] and words[3:] == ["--frames", "3"]
    assert Path(words[2]) == Path(name) and not words[2].startswith("-")


def test_every_printed_command_with_a_value_is_quoted_in_one_place() -> None:
    """No f-string puts a value into a command by itself."""
    for layer in ("runtime", "calib", "export", "edge"):
        for path in (ROOT / layer).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if not isinstance(node, ast.JoinedStr):
                    continue
                fixed = "".join(
                    part.value for part in node.values if isinstance(part, ast.Constant) and isinstance(part.value, str)
                )
                values = {ast.unparse(part.value) for part in node.values if isinstance(part, ast.FormattedValue)}
                assert not PRINTED.search(fixed) or values <= SAFE, f"{path}:{node.lineno}"


def test_a_precision_that_no_export_writes_is_not_suggested() -> None:
    manifest = read_manifest(find_artefact())
    with pytest.raises(ArtefactError) as raised:
        manifest.graph("fp8")  # type: ignore[arg-type]
    assert raised.value.run is None
