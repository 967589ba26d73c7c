"""The documentation's site, built once: no warnings, no dead links, nothing from another host, nothing left out."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import click
import posemoe_edge
import pytest
from posemoe_edge.edge.cli.main import VERBS, cli

ROOT = Path(__file__).parents[1]
PAGES = [path.relative_to(ROOT / "docs") for path in sorted((ROOT / "docs").rglob("*.md"))]
MARK = re.compile(r"<!-- (run|then|not run)")
FENCE = re.compile(r"^ *```", re.MULTILINE)

# Hosts that the theme's script names. It asks the first for charts that no script of ours draws, the second in browsers without
# ResizeObserver (before 2020), and the next two where a page shows the stars of a repository. The others are names in comments
# and of formats.
KNOWN_HOSTS = {"unpkg.com", "api.github.com", "gitlab.com", "clipboardjs.com", "github.com", "www.w3.org"}


@dataclass
class Built(HTMLParser):
    """What the tests need of a page: the names of its anchors, its links, those of the navigation, and what it loads."""

    path: str
    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    navigation: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    blocks: int = 0
    charts: int = 0
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__()
        self._navs, self._code = 0, 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids |= {values[name] for name in ("id", "name") if name in values}
        self._navs += tag == "nav"
        self._code += tag in ("pre", "code", "script", "style")
        self.blocks += tag == "pre"
        self.charts += tag == "pre" and values.get("class") == "mermaid"
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
            if self._navs:
                self.navigation.append(values["href"])
        if tag == "link" and values.get("rel") not in ("prev", "next", "canonical"):
            self.loaded.append(values["href"])
        self.loaded += [values[name] for name in ("src", "srcset", "data", "poster") if name in values]

    def handle_endtag(self, tag: str) -> None:
        self._navs -= tag == "nav"
        self._code -= tag in ("pre", "code", "script", "style")

    def handle_data(self, data: str) -> None:
        if not self._code:
            self.text += data

    def place(self, link: str) -> tuple[str, str]:
        """The file of the site and the anchor to which a relative link leads."""
        name, _, anchor = link.partition("#")
        return posixpath.normpath(posixpath.join(posixpath.dirname(self.path), name)) if name else self.path, anchor


@pytest.fixture(scope="session")
def pages(site: Path) -> dict[str, Built]:
    """Each page's path -> what is in it."""
    built = {}
    for file in sorted(site.rglob("*.html")):
        page = Built(file.relative_to(site).as_posix())
        page.feed(file.read_text())
        built[page.path] = page
    return built


def in_site(link: str) -> bool:
    return not re.match(r"[a-z]+:", link)


def html_of(page: Path) -> str:
    """The file of the site that a page of docs/ becomes."""
    return (page.with_name("index.html") if page.name == "README.md" else page.with_suffix(".html")).as_posix()


def verbs() -> Iterator[tuple[str, click.Command]]:
    context = click.Context(cli)
    for name in VERBS:
        command = cli.get_command(context, name)
        assert command is not None
        yield name, command


def test_it_is_built_without_a_warning(site: Path) -> None:
    log = (site / "build.log").read_text()
    assert "Documentation built" in log
    assert not re.search("warning|error|deprecat", log, re.IGNORECASE), log


def test_every_link_and_anchor_leads_somewhere(site: Path, pages: dict[str, Built]) -> None:
    dead, seen = [], 0
    for page in pages.values():
        for link in filter(in_site, page.links):
            path, anchor = page.place(link.lstrip("/") if page.path == "404.html" else link)
            seen += bool(anchor)
            exists = (site / path).is_file() and (not anchor or path not in pages or anchor in pages[path].ids)
            if not exists:
                dead.append(f"{page.path}: {link}")
    assert not dead
    assert seen > 1000


def test_no_page_loads_anything_from_another_host(site: Path, pages: dict[str, Built]) -> None:
    assert [f"{page.path}: {link}" for page in pages.values() for link in page.loaded if not in_site(link)] == []
    missing = []
    for page in pages.values():
        for link in page.loaded:
            path = page.place(link.lstrip("/") if page.path == "404.html" else link)[0]
            if not (site / path).is_file():
                missing.append(f"{page.path}: {link}")
    assert missing == []
    for style in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import )['\"]?(https?:)?//", style.read_text()), style
    assert not [path for path in pages if 'data-md-component="source"' in (site / path).read_text()]  # stars of a repository


def test_the_themes_script_names_no_unknown_host(site: Path) -> None:
    scripts = list((site / "assets" / "javascripts").glob("bundle.*.js"))
    assert scripts
    hosts = {host for script in scripts for host in re.findall(r"https?://([\w.-]+)", script.read_text())}
    assert hosts <= KNOWN_HOSTS


def test_charts_are_drawn_by_a_script_of_the_site(pages: dict[str, Built]) -> None:
    for page in pages.values():
        assert bool(page.charts) == any("mermaid" in link for link in page.loaded), page.path


def test_search_finds_words_of_pages_and_of_docstrings_without_a_server(site: Path) -> None:
    index = (site / "search" / "search_index.js").read_text()
    assert index.startswith("var __index = ")
    for word in ("certificate", "require_signature", "--budget-mm", "PoseRetNet"):
        assert word in index


@pytest.mark.parametrize("name", sorted({*posemoe_edge.__all__} - {"__version__"}))
def test_a_public_name_is_in_the_api_reference(name: str, pages: dict[str, Built]) -> None:
    own = re.compile(rf"posemoe_edge\.{name}(\.\w+)?")  # plotting is a module: what is in it
    assert [path for path, page in pages.items() if path.startswith("reference/api/") and any(map(own.fullmatch, page.ids))]


@pytest.mark.parametrize(("name", "command"), list(verbs()), ids=list(VERBS))
def test_a_verb_is_in_the_reference_with_its_options(
    name: str, command: click.Command, site: Path, pages: dict[str, Built]
) -> None:
    assert name in pages["reference/commands.html"].ids
    text = (site / "reference" / "commands.html").read_text()
    section = text.partition(f'<h2 id="{name}">')[2].partition("<h2 ")[0]
    shown = {option for code in re.findall(r"<code>([^<]*)</code>", section) for option in code.split()}
    options = [param for param in command.params if isinstance(param, click.Option) and not param.hidden]
    assert {name for option in options for name in (*option.opts, *option.secondary_opts)} <= shown


def test_every_page_of_docs_is_reachable_from_the_navigation(pages: dict[str, Built]) -> None:
    reached, new = set(), {"index.html"}
    while new:
        reached |= new
        links = [pages[path].place(link)[0] for path in new for link in pages[path].navigation if in_site(link)]
        new = {path for path in links if path in pages} - reached
    assert {html_of(page) for page in PAGES} <= reached
    assert set(pages) - reached == {"404.html"}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_page_reads_on_the_site_as_on_github(page: Path, pages: dict[str, Built], site: Path) -> None:
    """Blocks of code, links and lists are what they are on GitHub, where another Markdown holds."""
    built, markdown = pages[html_of(page)], (ROOT / "docs" / page).read_text()
    assert built.blocks == len(FENCE.findall(markdown)) / 2
    assert not re.search(r"```|\]\(|^\s*\| |\*\*", built.text, re.MULTILINE)
    assert not MARK.search((site / html_of(page)).read_text())
