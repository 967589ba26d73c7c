"""The wheel and the sdist, as the tools of those who receive them see them."""

from __future__ import annotations

from email.parser import BytesParser
from pathlib import Path

import pytest
from distribution import contents_of_wheel, wheel_in
from environment import Environment, make_environment

TOOLS = Path(__file__).with_name("tools.txt")


@pytest.fixture(scope="module")
def tools(environments: Path) -> Environment:
    """The tools, in an environment of their own: twine brings two dozen packages."""
    return make_environment(environments / "tools", TOOLS.read_text().split())


def test_twine_would_upload_them(tools: Environment, dist: Path) -> None:
    files = [path.name for path in dist.iterdir() if path.suffix in (".whl", ".gz")]
    outcome = tools.run("twine", "--no-color", "check", "--strict", *files, folder=dist)
    assert outcome.code == 0 and outcome.out.count("PASSED") == len(files) == 2, outcome.out + outcome.err


def test_the_wheel_has_no_content_that_wheels_should_not_have(tools: Environment, dist: Path) -> None:
    outcome = tools.run("check-wheel-contents", wheel_in(dist).name, folder=dist)
    assert outcome.code == 0, outcome.out + outcome.err


def test_the_index_knows_every_classifier(tools: Environment, dist: Path, tmp_path: Path) -> None:
    contents = contents_of_wheel(wheel_in(dist))
    (metadata,) = [text for name, text in contents.items() if name.endswith(".dist-info/METADATA")]
    classifiers = BytesParser().parsebytes(metadata).get_all("Classifier") or []
    assert classifiers
    code = f"from trove_classifiers import classifiers; print(sorted(set({classifiers!r}) - classifiers))"
    assert tools.run(tools.python, "-c", code, folder=tmp_path).out.strip() == "[]"
