"""Pages of the repository as pages of the site: links, lists, marks; and what the generated pages say. Without mkdocs."""

from __future__ import annotations

import inspect

import pytest
from posemoe_edge.runtime import errors
from posemoe_edge.runtime.artefact.record import Record
from posemoe_edge.scripts.website.api_pages import PAGES as API_PAGES
from posemoe_edge.scripts.website.api_pages import api_pages
from posemoe_edge.scripts.website.error_page import error_page
from posemoe_edge.scripts.website.links import Links, with_deep_lists, without_marks
from posemoe_edge.scripts.website.navigation import navigation, section_indexes
from posemoe_edge.scripts.website.places import site_files
from posemoe_edge.scripts.website.schema_page import meanings, records_of_artefacts, schema_page

PAGES = {
    "README.md": "index.md",
    "docs/how-to/ros.md": "how-to/ros.md",
    "docs/decisions/README.md": "decisions/README.md",
    "docs/figures/walk.png": "figures/walk.png",
    "runtime/zoo/README.md": "results/zoo/README.md",
}
WEB = "https://example.org/posemoe-edge"


@pytest.mark.parametrize(
    ("source", "link", "expected"),
    [
        ("README.md", "[a](docs/how-to/ros.md#nodes)", "[a](how-to/ros.md#nodes)"),
        ("README.md", "![a](docs/figures/walk.png)", "![a](figures/walk.png)"),
        ("README.md", "[![a](docs/figures/walk.png)](docs/how-to/ros.md)", "[![a](figures/walk.png)](how-to/ros.md)"),
        ("README.md", '<img src="docs/figures/walk.png">', '<img src="figures/walk.png">'),
        ("README.md", '<a href="docs/how-to/ros.md#nodes">', '<a href="how-to/ros.html#nodes">'),
        ("README.md", '<a href="docs/decisions">', '<a href="decisions/index.html">'),
        ("docs/how-to/ros.md", "[a](../../runtime/zoo)", "[a](../results/zoo/README.md)"),
        ("docs/how-to/ros.md", "[a](../decisions/README.md)", "[a](../decisions/README.md)"),
        ("docs/how-to/ros.md", "[a](../../README.md#use-it)", "[a](../index.md#use-it)"),
        ("runtime/zoo/README.md", "[a](../../docs/how-to/ros.md)", "[a](../../how-to/ros.md)"),
        ("docs/how-to/ros.md", "[a](#nodes) [b](https://example.org/x)", "[a](#nodes) [b](https://example.org/x)"),
        ("docs/how-to/ros.md", "`[a](../../README.md)`", "`[a](../../README.md)`"),
        ("docs/how-to/ros.md", "```\n[a](../../README.md)\n```", "```\n[a](../../README.md)\n```"),
        ("docs/how-to/ros.md", "float32[17][3]", r"float32[17]\[3]"),
        ("docs/how-to/ros.md", "[a](missing.md)", "[a](missing.md)"),  # mkdocs says so
    ],
)
def test_a_link_leads_to_the_page_of_the_site(source: str, link: str, expected: str) -> None:
    assert Links(PAGES, WEB).rewrite(link, source) == expected


def test_a_link_to_a_file_that_is_not_on_the_site_leads_to_the_repository() -> None:
    links = Links(PAGES, WEB)
    text = "[`a`](../../examples) and [b](../../runtime/errors.py#L3)"
    expected = f"[`a`]({WEB}/tree/HEAD/examples) and [b]({WEB}/blob/HEAD/runtime/errors.py#L3)"
    assert links.rewrite(text, "docs/how-to/ros.md") == expected


def test_without_a_repository_such_a_link_is_plain_text() -> None:
    text = "[`a`](../../examples) and [b](../../runtime/errors.py#L3)"
    assert Links(PAGES, None).rewrite(text, "docs/how-to/ros.md") == "`a` and b"


def test_what_belongs_to_an_item_is_indented_by_four_spaces() -> None:
    text = "- a\n  b\n\n  ```python\n  if x:\n      y()\n  ```\n  - c\n\n1. d\n\n   e\n\nf\n"
    expected = "- a\n    b\n\n    ```python\n    if x:\n        y()\n    ```\n    - c\n\n1. d\n\n    e\n\nf\n"
    assert with_deep_lists(text) == expected


def test_code_and_text_outside_of_lists_stay_as_they_are() -> None:
    text = "- a\n\nb\n\n```\n- c\n  d\n```\n"
    assert with_deep_lists(text) == text


def test_marks_of_code_that_runs_are_left_out() -> None:
    text = "a\n\n<!-- run -->\n```bash\nb\n```\n\n<!-- not run: needs a GPU -->\n```bash\nc\n```\n<!-- kept -->\n"
    assert without_marks(text) == "a\n\n```bash\nb\n```\n\n```bash\nc\n```\n<!-- kept -->\n"


def test_a_page_that_is_added_appears_in_the_navigation() -> None:
    pages = ["index.md", "tutorials/your-camera.md", "tutorials/first-skeleton.md", "tutorials/a-new-one.md"]
    first = {"Tutorials": ["tutorials/first-skeleton.md", "tutorials/your-camera.md", "tutorials/a-new-one.md"]}
    assert navigation(pages) == [{"Home": "index.md"}, first]


def test_a_page_in_an_unknown_folder_is_an_error() -> None:
    with pytest.raises(AssertionError, match=r"elsewhere/page\.md"):
        navigation(["index.md", "elsewhere/page.md"])


def test_a_section_without_a_page_of_its_own_gets_one_with_the_first_paragraphs() -> None:
    texts = {
        "papers/posemoe.md": "# PoseMoE\n\n```\ncode\n```\n\nThe [equations](x.md).\n\nMore.\n",
        "decisions/README.md": "# D\n",
    }
    assert section_indexes(texts) == {"papers/index.md": "# Papers\n\n**[PoseMoE](posemoe.md)**  \nThe equations.\n"}


def test_cards_of_models_and_the_readme_are_on_the_site() -> None:
    files = site_files()
    assert files["README.md"] == "index.md"
    assert files["runtime/zoo/README.md"] == "results/zoo/README.md"
    assert not [page for page in files.values() if page.endswith((".onnx", ".safetensors"))]


def test_every_public_name_is_on_a_page_of_the_api() -> None:
    """``api_pages`` refuses to leave one out."""
    texts = dict(api_pages())
    index = texts.pop("reference/api/index.md")
    assert len(texts) == len(API_PAGES) and all(f"({name}.md)" in index for name in API_PAGES)
    assert "::: posemoe_edge.load\n" in texts["reference/api/models.md"]
    assert "::: posemoe_edge.plotting.show\n" in texts["reference/api/plotting.md"]


@pytest.mark.parametrize("record", records_of_artefacts(), ids=lambda record: record.__name__)
def test_every_field_of_a_record_has_a_meaning(record: type[Record]) -> None:
    assert set(meanings(record)) == set(record.model_fields)
    section = schema_page().partition(f"\n### {record.__name__}\n")[2].partition("\n#")[0]
    assert all(f"| `{name}` |" in section for name in record.model_fields)


ERRORS = [kind for kind in vars(errors).values() if inspect.isclass(kind) and errors.PoseEdgeError in kind.__mro__[1:]]


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_an_error_says_what_to_do(kind: type[errors.PoseEdgeError]) -> None:
    section = error_page().partition(f"\n## {kind.__name__}\n")[2].partition("\n## ")[0]
    assert f"Exit code {kind.exit_code}." in section
    _, _, remedy = (inspect.getdoc(kind) or "").partition("\n\n")
    assert remedy and remedy in section
