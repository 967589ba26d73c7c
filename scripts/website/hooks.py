"""What mkdocs calls while it builds the site: pages from outside of docs/ and from the code, the navigation, links, charts.

Run: make site
"""

from __future__ import annotations

import os
import sys

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from posemoe_edge.scripts.website import command_page, error_page, schema_page
from posemoe_edge.scripts.website.api_pages import api_pages, link_package
from posemoe_edge.scripts.website.links import Links, with_deep_lists, without_marks
from posemoe_edge.scripts.website.navigation import navigation, section_indexes
from posemoe_edge.scripts.website.places import ROOT, site_files

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SCRIPTS = ROOT / ".venv" / ".site"
"""Where `make site` puts two scripts of others: without them charts are shown as text, and search wants a server."""

MERMAID, WORKER = "mermaid.min.js", "iframe-worker.js"
ASSETS = "assets/javascripts"


def on_startup(command: str, dirty: bool) -> None:
    """Make what mkdocstrings reads before it looks for it: otherwise it reads the repository, and follows links without end."""
    link_package(ROOT / "build" / "site-package")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Prepare what the plugins read."""
    # The plugin `offline` has added an address of another host, from which the script would come.
    config.extra["polyfills"] = [f"{ASSETS}/{WORKER}"] if (SCRIPTS / WORKER).is_file() else []
    if (SCRIPTS / MERMAID).is_file():
        from pymdownx.superfences import fence_code_format

        fence = {"name": "mermaid", "class": "mermaid", "format": fence_code_format}
        config.mdx_configs.setdefault("pymdownx.superfences", {})["custom_fences"] = [fence]
    if "MIKE_DOCS_VERSION" in os.environ:  # mike builds one version of several
        config.extra["version"] = {"provider": "mike"}
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that do not lie in docs/, and make the navigation of all."""
    pages, links = site_files(), Links(site_files(), _repository())
    texts: dict[str, str] = {}
    for source, page in pages.items():
        if page.endswith(".md"):
            text = links.rewrite((ROOT / source).read_text(), source)
            texts[page] = with_deep_lists(without_marks(text))
        elif not source.startswith("docs/"):
            _put(files, File.generated(config, page, abs_src_path=str(ROOT / source)))
    texts |= dict(api_pages())
    for module in (command_page, error_page, schema_page):
        name = module.__name__.rpartition(".")[2]
        texts[module.PAGE] = getattr(module, name)()
    texts |= section_indexes(texts)
    for page, text in texts.items():
        _put(files, File.generated(config, page, content=text))
    for script in (MERMAID, WORKER):
        if (SCRIPTS / script).is_file():
            _put(files, File.generated(config, f"{ASSETS}/{script}", abs_src_path=str(SCRIPTS / script)))
    config.nav = navigation(texts)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Home is alone in its section, and needs no list of pages beside it."""
    if page.file.src_uri == "index.md":
        page.meta["hide"] = ["navigation"]
    return markdown


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Give a page with charts the script that draws them, before the theme's, which would fetch it from another host."""
    if 'class="mermaid"' not in output:
        return output
    script = "../" * page.url.count("/") + f"{ASSETS}/{MERMAID}"
    return output.replace('<script id="__config"', f'<script src="{script}"></script><script id="__config"', 1)


def _put(files: Files, file: File) -> None:
    """Add a file, in the place of one of the same name."""
    before = files.get_file_from_path(file.src_uri)
    if before is not None:
        files.remove(before)
    files.append(file)


def _repository() -> str | None:
    """The project's address on the web, once pyproject.toml has it."""
    urls: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
    return urls.get("Repository", "").rstrip("/") or None
