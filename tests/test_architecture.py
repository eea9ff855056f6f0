"""The import rules of the package: rooms import only downwards, and each heavy library has its doors."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import skvae

PACKAGE = Path(skvae.__file__).parent
HEAVY = {"torch", "pandas", "polars", "narwhals", "sklearn", "matplotlib"}

# module: (modules of ours it may import anywhere, heavy libraries it may import at module level)
RULES = {
    "scalings": (set(), set()),
    "schema": ({"scalings"}, {"pandas", "narwhals"}),
    "networks": (set(), {"torch"}),
    "likelihoods": (set(), {"torch"}),
    "training": (set(), {"torch"}),
    "plotting": (set(), set()),
    "verdict": ({"plotting"}, set()),
    "marginals": ({"plotting"}, {"pandas"}),
    "page": ({"plotting"}, {"pandas"}),
    "quality": ({"plotting", "marginals", "verdict", "page", "schema"}, {"pandas", "narwhals", "sklearn"}),
    "priors": ({"training"}, {"torch"}),
    "mixtures": (set(), {"torch"}),
    "decoders": ({"networks", "likelihoods", "mixtures"}, {"torch"}),
    "model": ({"networks", "decoders", "priors"}, {"torch"}),
    "estimator": (
        {"schema", "networks", "likelihoods", "priors", "model", "training"},
        {"torch", "narwhals", "sklearn"},
    ),
}


def imported(nodes):
    """Dotted names, split, of everything the statements import."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "absolute imports only, so that this test can read them"
            yield from (f"{node.module}.{alias.name}".split(".") for alias in node.names)


def test_rules_are_acyclic():
    TopologicalSorter({module: ours for module, (ours, _) in RULES.items()}).prepare()


def test_every_module_has_a_rule():
    assert {path.stem for path in PACKAGE.glob("[!_]*.py")} == set(RULES)


@pytest.mark.parametrize("module", RULES)
def test_imports(module):
    ours, heavy = RULES[module]
    tree = ast.parse((PACKAGE / f"{module}.py").read_text())
    # walk: an upward import hidden in a function is still an upward import
    names = [name for name in imported(ast.walk(tree)) if name[0] == "skvae"]
    assert {name[1] if name[1:] else "__init__" for name in names} <= ours
    assert {name[0] for name in imported(tree.body)} & HEAVY <= heavy
