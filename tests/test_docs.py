"""The documentation is true: its marked code runs, its links lead somewhere, and the command line's page is complete.

A block marked ``<!-- run -->`` on the line before its fence runs in an empty folder of its own; long ones are not marked.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from posemoe_edge.edge.cli.main import cli

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MARK = "<!-- run -->"
FENCE = re.compile(r"```(\w*)\s*")
LINK = re.compile(r"(?<!`)\[[^\]]*\]\(([^)\s]+)\)")
EACH_VERB = {"json", "verbose"}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page, as written."""

    page: Path
    line: int
    language: str
    marked: bool
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    lines = page.read_text().splitlines()
    n = 0
    while n < len(lines):
        fence = FENCE.fullmatch(lines[n].strip())
        if fence:
            indent = len(lines[n]) - len(lines[n].lstrip())
            end = next(m for m in range(n + 1, len(lines)) if lines[m].strip() == "```")
            text = "\n".join(line[indent:] for line in lines[n + 1 : end])
            yield Block(page, n + 1, fence[1], n > 0 and lines[n - 1].strip() == MARK, text + "\n")
            n = end
        n += 1


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^\s*```.*?^\s*```\s*$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


RUN = [block for page in PAGES for block in blocks(page) if block.marked]


def test_something_runs() -> None:
    assert {block.language for block in RUN} == {"bash", "python"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_mark_stands_before_code_that_can_run(page: Path) -> None:
    marks = sum(line.strip() == MARK for line in page.read_text().splitlines())
    assert marks == sum(block.marked and block.language in ("bash", "python") for block in blocks(page))


@pytest.mark.parametrize("block", RUN, ids=str)
def test_marked_code_runs(block: Block, tmp_path: Path) -> None:
    folder = Path(sys.executable).parent
    program = [sys.executable, "-"] if block.language == "python" else ["bash", "-euo", "pipefail", "-s"]
    done = subprocess.run(
        program,
        input=block.text,
        cwd=tmp_path,
        env=os.environ | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{block} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", [*sorted(ROOT.glob("*.md")), *PAGES[1:]], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):  # the web, mail
            continue
        name, _, anchor = target.partition("#")
        found = (page.parent / name).resolve() if name else page
        assert found.exists(), f"{page.name} links to {target}"
        assert found.is_relative_to(ROOT), f"{page.name} links out of the repository: {target}"
        if anchor:
            assert anchor in anchors(found), f"{page.name} links to {target}"


def anchors(page: Path) -> set[str]:
    """The headings, as GitHub names them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tests_that_are_named_exist(page: Path) -> None:
    there = {name for file in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", file.read_text())}
    assert set(re.findall(r"`(test_\w+)`", page.read_text())) <= there


def verbs() -> dict[str, click.Command]:
    context = click.Context(cli)
    found = {}
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        found[name] = command
    return found


def section(name: str) -> str:
    """What docs/cli.md says under a verb."""
    page = (ROOT / "docs" / "cli.md").read_text()
    found = re.search(rf"^## {name}\b.*?(?=^## |\Z)", page, flags=re.DOTALL | re.MULTILINE)
    assert found, f"docs/cli.md has no section {name}"
    return found[0]


@pytest.mark.parametrize("name", list(verbs()))
def test_every_option_is_explained_under_its_verb(name: str) -> None:
    command, text = verbs()[name], section(name)
    written = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", text))
    options = {
        option
        for param in command.params
        if isinstance(param, click.Option)
        for option in (*param.opts, *param.secondary_opts)
        if option.startswith("--") and option[2:] not in EACH_VERB
    }
    assert written == options


def test_the_options_of_each_verb_are_explained_once() -> None:
    page = (ROOT / "docs" / "cli.md").read_text()
    for option in ("`--json`", "`-v`, `--verbose`", "`-h`", " --help`", "`posemoe-edge --version`"):
        assert option in page


def test_the_configurations_odd_names_are_the_odd_names() -> None:
    page = (ROOT / "docs" / "cli.md").read_text()
    told = set(re.findall(r"`(--[a-z-]+)`(?: of `\w+`)? is `(\w+)`", page))
    odd = {
        (param.opts[0], param.name)
        for command in verbs().values()
        for param in command.params
        if isinstance(param, click.Option) and param.opts[0][2:].replace("-", "_") != param.name and param.name != "verbose"
    }
    assert told == odd
