"""The release checklist: checks what a program can check, and prints what a person must do.

Run: python scripts/release.py
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]

BY_HAND = """
By hand, in this order:
  1. .ci/run, nox -s py310 py311 py312 py313 minimum, and nox -s audit, with access to pypi.org
  2. Export the default model, compare its graphs with the shipped ones, verify runtime/zoo/frame-retention-s on 3,000 frames
  3. On a GPU: python benchmarks/gpu; put what changed into docs/results/performance.md
  4. python scripts/third_party.py --also FOLDER_WITH_RAY --also FOLDER_WITH_PYCUDA, if constraints.txt has changed
  5. git tag v{version} and push it
  6. rm -rf dist, python -m build, twine check --strict dist/*, and upload dist/. PyPI shows no pictures and follows no
     links that are relative: in the README that is built, put the repository's address before them
"""


def version() -> str:
    """``__version__``, which pyproject.toml reads too."""
    match = re.search(r'^__version__ = "(.+)"$', (ROOT / "__init__.py").read_text(), flags=re.MULTILINE)
    assert match
    return match[1]


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def release_date() -> date | None:
    """Of this version, as the changelog has it; None without one."""
    pattern = rf"^## \[{re.escape(version())}\] - (\d{{4}}-\d\d-\d\d)$"
    section = re.search(pattern, (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    try:
        return date.fromisoformat(section[1]) if section else None
    except ValueError:  # the 13th month
        return None


def changelog_names_the_version() -> str | None:
    return None if release_date() else f"CHANGELOG.md: no section [{version()}] with a date, as 2026-01-31"


def citation_lacks(line: str) -> str | None:
    lines = (ROOT / "CITATION.cff").read_text().splitlines()
    return None if line in lines else f"CITATION.cff: no line '{line}'"


def citation_names_the_version() -> str | None:
    return citation_lacks(f"version: {version()}")


def citation_names_the_date() -> str | None:
    return citation_lacks(f"date-released: {release_date() or 'YYYY-MM-DD'}")


def tree_is_clean() -> str | None:
    status = run("git", "status", "--porcelain")
    if status.returncode:
        return status.stderr.strip()
    return f"uncommitted changes:\n{status.stdout.rstrip()}" if status.stdout else None


def tag_is_free() -> str | None:
    """A version is released once."""
    tag = f"v{version()}"
    return f"there is a tag {tag} already" if run("git", "tag", "--list", tag).stdout else None


def repository_is_named() -> str | None:
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
    missing = {"Repository", "Issues"} - set(urls)
    return f"pyproject.toml: [project.urls] lacks {', '.join(sorted(missing))}" if missing else None


def tests_pass(*paths: str) -> str | None:
    process = run(sys.executable, "-m", "pytest", "-q", *paths)
    return None if process.returncode == 0 else f"{' '.join(paths)} fails:\n{process.stdout[-2000:]}"


DOCUMENTATION = ("tests/test_docs.py", "tests/test_code_of_pages.py", "tests/test_examples.py")

CHECKS: dict[str, Callable[[], str | None]] = {
    "the changelog has this version with its date": changelog_names_the_version,
    "CITATION.cff has this version": citation_names_the_version,
    "CITATION.cff has the same date": citation_names_the_date,
    "the working tree is clean": tree_is_clean,
    "no tag has this version": tag_is_free,
    "the repository's address is in pyproject.toml": repository_is_named,
    "the wheel and the sdist hold what they should": lambda: tests_pass("tests/test_wheel.py"),
    "the documentation is true": lambda: tests_pass(*DOCUMENTATION),
    "third-party software is listed": lambda: tests_pass("tests/test_third_party.py"),
    "nothing deprecated is overdue": lambda: tests_pass("tests/runtime/test_deprecation.py"),
}
"""What is checked -> a function that returns what is wrong, or None."""


def main() -> None:
    failures = 0
    for name, check in CHECKS.items():
        problem = check()
        failures += problem is not None
        print(f"{'FAILED' if problem else 'ok':<7} {name}" + (f"\n        {problem}" if problem else ""))
    print(BY_HAND.format(version=version()))
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
