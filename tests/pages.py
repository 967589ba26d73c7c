"""The pages of the documentation, and the fenced blocks in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
ALL_PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
DECISIONS = ROOT / "docs" / "decisions"
PAGES = [ROOT / "README.md", *(page for page in ALL_PAGES if page.is_relative_to(ROOT / "docs") and page.parent != DECISIONS)]

FENCE = re.compile(r"```(\w*)\s*")
MARK = re.compile(r"<!-- (run|then|not run: \S.*) -->")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page, as written."""

    page: Path
    line: int
    language: str
    mark: str
    """What the comment on the line before says: run, then, "not run: reason"; or nothing."""
    text: str

    def __str__(self) -> str:
        return f"{page_name(self.page)}:{self.line}"

    @property
    def is_run(self) -> bool:
        return self.mark in ("run", "then")


def page_name(page: Path) -> str:
    """As it is written in messages: README.md, docs/reference/cli.md."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> Iterator[Block]:
    lines = page.read_text().splitlines()
    n = 0
    while n < len(lines):
        fence = FENCE.fullmatch(lines[n].strip())
        if fence:
            indent = len(lines[n]) - len(lines[n].lstrip())
            end = next(m for m in range(n + 1, len(lines)) if lines[m].strip() == "```")
            text = "\n".join(line[indent:] for line in lines[n + 1 : end])
            mark = MARK.fullmatch(lines[n - 1].strip()) if n > 0 else None
            yield Block(page, n + 1, fence[1], mark[1] if mark else "", text + "\n")
            n = end
        n += 1


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^\s*```.*?^\s*```\s*$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
