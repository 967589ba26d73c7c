"""Pages as GitHub reads them, made into pages of the site: links, lists, and the marks of code that a test runs."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from pathlib import Path

from posemoe_edge.scripts.website.places import INDEXES, ROOT

_FENCE = r"^(?P<indent> *)(?P<fence>```+|~~~+)[^\n]*\n(?:.*\n)*?(?P=indent)(?P=fence) *$"
_IMAGE = r"!\[[^\]]*\]\([^)\s]+\)"
_LINK = rf"(?P<image>!?)\[(?P<text>(?:{_IMAGE}|`[^`]*`|[^\[\]`])*)\]\((?P<target>[^)\s]+)(?P<title> +\"[^\"]*\")?\)"
_CODE = r"(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`)"
_ATTRIBUTE = r"(?P<name>\b(?:src|href|srcset))=\"(?P<value>[^\"]+)\""
_PART = re.compile(rf"(?P<block>{_FENCE})|{_LINK}|(?P<span>{_CODE})|{_ATTRIBUTE}|(?P<brackets>\]\[)", re.MULTILINE)
_MARK = re.compile(r"^ *<!-- (?:run|then|not run: [^\n]*) -->\n(?= *```)", re.MULTILINE)
_ITEM = re.compile(r"(?P<marker>(?:[-*]|\d+\.) +)\S")


class Links:
    """Rewrites the links of a page that were written for its place in the repository.

    Args:
        pages: file of the repository -> its path on the site.
        repository: the project's address on the web; None if it is not known yet.
    """

    def __init__(self, pages: Mapping[str, str], repository: str | None) -> None:
        self._pages, self._repository = pages, repository

    def rewrite(self, markdown: str, source: str) -> str:
        """The text of a file of the repository with links to pages of the site, else to the repository, else without them."""

        def part(match: re.Match[str]) -> str:
            if match["block"] or match["span"]:
                return match[0]
            if match["brackets"]:  # as in float32[17][3], which mkdocstrings takes for a link to a name of the API
                return r"]\["
            if match["name"]:
                target = self._target(match["value"], source, html=True)
                return match[0] if target is None else f'{match["name"]}="{target}"'
            text = _PART.sub(part, match["text"])
            target = self._target(match["target"], source)
            return text if target is None else f"{match['image']}[{text}]({target}{match['title'] or ''})"

        return _PART.sub(part, markdown)

    def _target(self, target: str, source: str, *, html: bool = False) -> str | None:
        """Where a link of a page leads on the site; None if there is no such place on the web.

        Args:
            html: of an attribute, which mkdocs leaves as it is.
        """
        name, mark, anchor = target.partition("#")
        if not name or re.match(r"[a-z]+:", name):
            return target
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), name))
        for file in (path, *(f"{path}/{index}" for index in INDEXES)):
            if file in self._pages:
                page = posixpath.relpath(self._pages[file], posixpath.dirname(self._pages[source]) or ".")
                return f"{_html(page) if html else page}{mark}{anchor}"
        if not (ROOT / path).exists():
            return target  # mkdocs says that it is broken
        if self._repository is None:
            return None
        return f"{self._repository}/{'tree' if (ROOT / path).is_dir() else 'blob'}/HEAD/{path}{mark}{anchor}"


def _html(page: str) -> str:
    """A page's file on the site."""
    if not page.endswith(".md"):
        return page
    path = Path(page)
    return str(path.with_name("index.html") if path.name in INDEXES else path.with_suffix(".html"))


def without_marks(markdown: str) -> str:
    """The text without the comments that say whether a test runs a block of code."""
    return _MARK.sub("", markdown)


def with_deep_lists(markdown: str) -> str:
    """The text with what belongs to the items of a list indented by four spaces, as Python-Markdown wants it.

    On GitHub it is indented as far as the text of the item's first line.
    """
    lines, width, fence = [], 0, None
    for line in markdown.splitlines():
        indent = len(line) - len(line.lstrip())
        if fence is not None:
            lines.append(" " * fence[1] + line if line.strip() else line)
            if line.strip() == fence[0]:
                fence = None
            continue
        if indent == 0 and line:
            item = _ITEM.match(line)
            width = len(item["marker"]) if item else 0
        deep = 4 * (indent // width) + indent % width if width and indent >= width else indent
        opening = re.match(r"```+|~~~+", line.lstrip())
        if opening:
            fence = (opening[0], deep - indent)
        lines.append(" " * deep + line.lstrip() if line.strip() else line)
    return "\n".join(lines) + "\n"
