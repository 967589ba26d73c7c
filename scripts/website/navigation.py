"""The navigation, from the folders: a page that is added appears."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

from posemoe_edge.scripts.website.places import INDEXES, ORDER, SECTIONS, TITLES


def navigation(pages: Iterable[str]) -> list[Any]:
    """What mkdocs calls ``nav``: home, and the sections with their pages.

    Raises:
        AssertionError: a page is in no section.
    """
    rest = sorted(set(pages) - {"index.md"})
    nav: list[Any] = [{"Home": "index.md"}]
    for title, folder, first in SECTIONS:
        own = [page for page in rest if page.startswith(f"{folder}/")]
        rest = [page for page in rest if page not in own]
        if own:
            nav.append({title: _entries(own, folder, first)})
    assert not rest, f"in no section of scripts/website/places.py: {', '.join(rest)}"
    return nav


def _entries(pages: list[str], folder: str, first: tuple[str, ...]) -> list[Any]:
    """The folder's own page, then its pages and folders in order."""
    entries: dict[str, Any] = {}
    for page in pages:
        name, *below = page.removeprefix(f"{folder}/").split("/")
        if not below:
            entries[PurePosixPath(name).stem if name not in INDEXES else ""] = page
        elif name not in entries:
            inner = f"{folder}/{name}"
            title = TITLES.get(name, name)
            entries[name] = {
                title: _entries([page for page in pages if page.startswith(f"{inner}/")], inner, ORDER.get(inner, ()))
            }
    order = {"": -1} | {name: rank for rank, name in enumerate(first)}
    return [entries[name] for name in sorted(entries, key=lambda name: (order.get(name, len(order)), name))]


def section_indexes(texts: Mapping[str, str]) -> dict[str, str]:
    """A page for each section that has none: its pages with their first paragraphs.

    Args:
        texts: page -> its Markdown, for links of the site.
    """
    indexes = {}
    for title, folder, first in SECTIONS:
        own = [page for page in texts if page.startswith(f"{folder}/")]
        if not own or any(f"{folder}/{index}" in texts for index in INDEXES):
            continue
        flat = [page for page in own if "/" not in page.removeprefix(f"{folder}/") or PurePosixPath(page).name in INDEXES]
        entries = [_entry(page, folder, texts[page]) for page in _flattened(_entries(flat, folder, first))]
        indexes[f"{folder}/index.md"] = f"# {title}\n\n" + "\n".join(entries)
    return indexes


def _flattened(entries: list[Any]) -> list[str]:
    return [page for entry in entries for page in ([entry] if isinstance(entry, str) else _flattened(*entry.values()))]


def _entry(page: str, folder: str, text: str) -> str:
    """A page's title as a link, and its first paragraph without links."""
    heading, _, below = text.partition("\n")
    title = heading.removeprefix("# ").strip()
    paragraph = next((part for part in re.split(r"\n\s*\n", below) if re.match(r"(?!```)[\w`*\[]", part.strip())), "").strip()
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", paragraph)
    return f"**[{title}]({page.removeprefix(f'{folder}/')})**  \n{plain}\n"
