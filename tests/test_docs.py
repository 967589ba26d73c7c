"""The documentation is true: links, paths, names of tests, record fields and options exist."""

from __future__ import annotations

import importlib
import re
import typing
from collections.abc import Iterator
from pathlib import Path

import click
import posemoe_edge
import pytest
from pages import ALL_PAGES, PAGES, ROOT, blocks, page_name, prose
from posemoe_edge.calib.quantize.calibration import Calibration
from posemoe_edge.edge.cli.main import cli
from posemoe_edge.runtime.artefact.certificate import Certificate
from posemoe_edge.runtime.artefact.manifest import Manifest
from posemoe_edge.runtime.artefact.record import Record
from posemoe_edge.runtime.artefact.signature import Signature
from posemoe_edge.runtime.engines.tensorrt.plan import SideCar

FOLDERS = ("edge", "export", "calib", "runtime", "tests", "examples", "benchmarks", "docs", "scripts", "docker", "deploy")
LINK = re.compile(r"(?<!`)\[[^\]]*\]\(([^)\s]+)\)")
EACH_VERB = {"json", "verbose"}


@pytest.mark.parametrize("page", ALL_PAGES, ids=page_name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):  # the web, mail
            continue
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        assert linked.exists(), f"{page_name(page)} links to {target}"
        assert linked.is_relative_to(ROOT), f"{page_name(page)} links out of the repository: {target}"
        if anchor:
            assert anchor in anchors(linked), f"{page_name(page)} links to {target}"


def anchors(page: Path) -> set[str]:
    """The headings, as GitHub names them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", ALL_PAGES, ids=page_name)
def test_paths_exist(page: Path) -> None:
    """Of the repository, in backticks: `runtime/pose/`, `edge/models/*.py`. NAME is a placeholder."""
    paths = re.findall(rf"`(?:python )?((?:{'|'.join(FOLDERS)})/[\w./*-]*)[^`\n]*`", prose(page))
    assert [path for path in paths if "NAME" not in path and not list(ROOT.glob(path.rstrip("/.")))] == []


@pytest.mark.parametrize("page", ALL_PAGES, ids=page_name)
def test_modules_and_public_names_exist(page: Path) -> None:
    """Of imports in code, whether it is marked or not."""
    code = "\n".join(block.text for block in blocks(page) if block.language == "python")
    for module, names in re.findall(r"^from (posemoe_edge[\w.]*) import ([\w, ]+)$", code, flags=re.MULTILINE):
        for name in names.split(", "):
            assert not name.startswith("_") and hasattr(importlib.import_module(module), name), f"{module}.{name}"


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_tests_that_are_named_exist(page: Path) -> None:
    existing = {
        name for file in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", file.read_text())
    }
    assert set(re.findall(r"`(test_\w+)`", page.read_text())) <= existing


def test_public_names_are_documented() -> None:
    text = "\n".join(page.read_text() for page in ALL_PAGES)
    words = set(re.findall(r"\w+", "\n".join(re.findall(r"`([^`\n]+)`", text)))) | set(
        re.findall(r"\w+", "\n".join(block.text for page in ALL_PAGES for block in blocks(page) if block.language == "python"))
    )
    assert set(posemoe_edge.__all__) - words == set()


# Records: their fields are in tables whose first column is headed "field" or "side-car".

RECORDS: dict[str, tuple[type[Record], ...]] = {
    "reference/artefact.md": (Manifest, Certificate, SideCar, Signature),
    "how-to/int8.md": (Calibration,),
}


def fields(record: type[Record]) -> set[str]:
    """The names of a record's fields and of those of the records in it."""
    names = set(record.model_fields)
    for field in record.model_fields.values():
        for kind in records_in(field.annotation):
            names |= fields(kind)
    return names


def records_in(annotation: object) -> Iterator[type[Record]]:
    """The records in a type such as ``tuple[Drift, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, Record):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from records_in(argument)


@pytest.mark.parametrize(("name", "record"), [(name, record) for name in RECORDS for record in RECORDS[name]])
def test_every_field_of_a_record_is_documented(name: str, record: type[Record]) -> None:
    assert fields(record) - set(re.findall(r"`(\w+)`", (ROOT / "docs" / name).read_text())) == set()


@pytest.mark.parametrize("name", RECORDS)
def test_every_documented_field_exists(name: str) -> None:
    existing = set.union(*(fields(record) for record in RECORDS[name]))
    page = (ROOT / "docs" / name).read_text()
    tables = re.findall(r"^\| (?:field|side-car) .*\n\| ?-.*\n((?:\|.*\n)+)", page, flags=re.MULTILINE)
    cells = [row.split("|")[1] for table in tables for row in table.splitlines()]
    assert cells
    assert {field for cell in cells for field in re.findall(r"`(\w+)`", cell)} - existing == set()


def verbs() -> dict[str, click.Command]:
    context = click.Context(cli)
    commands = {}
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        commands[name] = command
    return commands


def options(command: click.Command) -> set[str]:
    """--model, --no-weights ... of a verb, without those that every verb has."""
    return {
        option
        for param in command.params
        if isinstance(param, click.Option)
        for option in (*param.opts, *param.secondary_opts)
        if option.startswith("--") and option[2:] not in EACH_VERB
    }


def section(name: str) -> str:
    """What docs/reference/cli.md says under a verb."""
    page = (ROOT / "docs" / "reference" / "cli.md").read_text()
    match = re.search(rf"^## {name}\b.*?(?=^## |\Z)", page, flags=re.DOTALL | re.MULTILINE)
    assert match, f"docs/reference/cli.md has no section {name}"
    return match[0]


OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")


@pytest.mark.parametrize("page", ALL_PAGES, ids=page_name)
def test_commands_have_the_options_that_pages_show(page: Path) -> None:
    shown = "\n".join(block.text for block in blocks(page) if block.language == "bash").replace("\\\n", " ")
    for name, arguments in re.findall(
        r"posemoe-edge (\w+)([^\n#|]*)", shown + "\n" + "\n".join(re.findall(r"`([^`]+)`", prose(page)))
    ):
        if name in verbs():
            assert set(OPTION.findall(arguments)) - options(verbs()[name]) - {f"--{option}" for option in EACH_VERB} == set()


@pytest.mark.parametrize("name", list(verbs()))
def test_every_option_is_explained_under_its_verb(name: str) -> None:
    assert set(OPTION.findall(section(name))) == options(verbs()[name])


def test_the_options_of_each_verb_are_explained_once() -> None:
    page = (ROOT / "docs" / "reference" / "cli.md").read_text()
    for option in ("`--json`", "`-v`, `--verbose`", "`-h`", " --help`", "`posemoe-edge --version`"):
        assert option in page


def test_keys_of_the_configuration_that_differ_from_their_options_are_documented() -> None:
    page = (ROOT / "docs" / "reference" / "cli.md").read_text()
    documented = set(re.findall(r"`(--[a-z-]+)`(?: of `\w+`)? is `(\w+)`", page))
    differing = {
        (param.opts[0], param.name)
        for command in verbs().values()
        for param in command.params
        if isinstance(param, click.Option) and param.opts[0][2:].replace("-", "_") != param.name and param.name != "verbose"
    }
    assert documented == differing
