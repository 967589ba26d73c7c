"""The release checklist: which checks hold at every commit, and what it says of a tree that is not ready."""

from __future__ import annotations

import runpy
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
READ = ("__init__.py", "CHANGELOG.md", "CITATION.cff", "pyproject.toml")
GIT = ("git", "-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")

Check = Callable[[], str | None]


def checks_of(root: Path) -> dict[str, Check]:
    """The checklist of the repository in a folder: its functions by their names."""
    return runpy.run_path(str(root / "scripts" / "release.py"))


def git(root: Path, *arguments: str) -> None:
    subprocess.run([*GIT, *arguments], cwd=root, check=True, capture_output=True, timeout=30)


def rewrite(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A repository with what the checklist reads, in which everything is ready for version 0.9.0."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    (tmp_path / "scripts").mkdir()
    for name in (*READ, "scripts/release.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "__init__.py").write_text('__version__ = "0.9.0"\n')
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## [0.9.0] - 2026-01-31\n\n## [0.8.0] - 2025-12-01\n")
    (tmp_path / "CITATION.cff").write_text("version: 0.9.0\ndate-released: 2026-01-31\n")
    (tmp_path / "pyproject.toml").write_text('[project.urls]\nRepository = "https://x.org"\nIssues = "https://x.org/i"\n')
    (tmp_path / ".gitignore").write_text("__pycache__/\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "ready")
    return tmp_path


QUICK = (
    "changelog_names_the_version",
    "citation_names_the_version",
    "citation_names_the_date",
    "tree_is_clean",
    "tag_is_free",
    "repository_is_named",
)


def problems(root: Path) -> dict[str, str]:
    """Check -> what it says, of the quick checks that fail."""
    checks = checks_of(root)
    return {name: problem for name in QUICK if (problem := checks[name]()) is not None}


def test_the_citation_has_the_version_at_every_commit() -> None:
    assert checks_of(ROOT)["citation_names_the_version"]() is None


def test_a_tree_that_is_ready_passes(scratch: Path) -> None:
    assert problems(scratch) == {}


def test_a_version_that_was_raised_in_one_place_fails_in_the_others(scratch: Path) -> None:
    rewrite(scratch / "__init__.py", "0.9.0", "0.10.0")
    git(scratch, "commit", "--quiet", "-am", "version")
    assert set(problems(scratch)) == {"changelog_names_the_version", "citation_names_the_version", "citation_names_the_date"}
    assert "[0.10.0]" in problems(scratch)["changelog_names_the_version"]


@pytest.mark.parametrize("when", ["unreleased", "2026-13-45"])
def test_a_version_without_a_date_fails(when: str, scratch: Path) -> None:
    rewrite(scratch / "CHANGELOG.md", "2026-01-31", when)
    git(scratch, "commit", "--quiet", "-am", "date")
    assert set(problems(scratch)) == {"changelog_names_the_version", "citation_names_the_date"}


def test_another_date_in_the_citation_fails(scratch: Path) -> None:
    rewrite(scratch / "CITATION.cff", "2026-01-31", "2026-01-30")
    git(scratch, "commit", "--quiet", "-am", "date")
    assert problems(scratch) == {"citation_names_the_date": "CITATION.cff: no line 'date-released: 2026-01-31'"}


def test_a_file_that_is_not_committed_fails(scratch: Path) -> None:
    (scratch / "new.py").touch()
    assert problems(scratch) == {"tree_is_clean": "uncommitted changes:\n?? new.py"}


def test_a_folder_without_git_fails(scratch: Path) -> None:
    shutil.rmtree(scratch / ".git")
    assert "not a git repository" in problems(scratch)["tree_is_clean"]


def test_a_version_that_was_tagged_before_fails(scratch: Path) -> None:
    git(scratch, "tag", "v0.9.0")
    assert problems(scratch) == {"tag_is_free": "there is a tag v0.9.0 already"}


def test_the_repositorys_address_is_asked_for(scratch: Path) -> None:
    (scratch / "pyproject.toml").write_text('[project.urls]\nIssues = "https://x.org/i"\n')
    git(scratch, "commit", "--quiet", "-am", "urls")
    assert problems(scratch) == {"repository_is_named": "pyproject.toml: [project.urls] lacks Repository"}
