"""The source itself: nothing in it executes what a file holds."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(path for layer in ("runtime", "calib", "export", "edge") for path in (ROOT / layer).rglob("*.py"))

# The only two that know pickles: one imports no name that a pickle holds, the other passes weights_only.
PICKLES = {"edge/data/pickled.py", "edge/official/weights.py"}
LOADERS = {"pickle", "cPickle", "dill", "marshal", "shelve", "joblib", "cloudpickle"}


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


@pytest.mark.parametrize("path", MODULES, ids=[str(path.relative_to(ROOT)) for path in MODULES])
def test_no_pickle_no_evaluation_no_shell(path: Path) -> None:
    tree, name = ast.parse(path.read_text()), path.relative_to(ROOT).as_posix()
    for node in ast.walk(tree):
        imported = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        imported += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
        assert name in PICKLES or not LOADERS & {module.partition(".")[0] for module in imported}
    for function, call in calls(tree):
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert function not in ("eval", "exec", "compile", "os.system", "os.popen", "subprocess.getoutput", "yaml.unsafe_load")
        assert given.get("shell", "False") == "False" and given.get("allow_pickle", "False") == "False"
        if function in ("np.load", "numpy.load"):
            assert given.get("allow_pickle") == "False"
        if function == "torch.load":
            assert given.get("weights_only") == "True"
        if function == "pickle.load" or function == "pickle.loads":
            raise AssertionError(f"{name} loads a pickle")


def test_the_two_modules_that_know_pickles_are_there() -> None:
    assert all((ROOT / name).is_file() for name in PICKLES)
