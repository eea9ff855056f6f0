"""The import rules of the package: modules import only downwards, and each heavy library has its doors."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import skvae

PACKAGE = Path(skvae.__file__).parent
HEAVY = {"torch", "pandas", "polars", "narwhals", "sklearn", "matplotlib"}

# module: (modules of ours it may import anywhere, heavy libraries it may import at module level)
NUMPY_ONLY: set[str] = set()
RULES = {
    # without torch: what rows look like
    "persistence": (set(), NUMPY_ONLY),
    "archive": (set(), NUMPY_ONLY),
    "dtypes": (set(), {"pandas"}),
    "values": ({"dtypes", "persistence"}, {"pandas"}),
    "moments": (set(), NUMPY_ONLY),
    "curves": ({"moments", "persistence"}, NUMPY_ONLY),
    "scalings": ({"curves", "moments", "persistence"}, NUMPY_ONLY),
    "sparse": (set(), {"pandas"}),
    "containers": ({"persistence", "sparse"}, {"pandas", "narwhals"}),
    # relations between columns: one file a kind, and `relations` with a row for each
    "fields": ({"containers"}, {"pandas"}),
    "notation": (set(), {"pandas"}),
    "significance": (set(), {"pandas"}),
    "abstract_relation": ({"containers", "fields", "notation", "persistence"}, NUMPY_ONLY),
    "equations": ({"abstract_relation", "fields", "significance"}, {"pandas"}),
    "sums": ({"equations", "fields", "notation", "significance"}, {"pandas"}),
    "products": ({"equations", "fields", "notation", "significance"}, NUMPY_ONLY),
    "inequalities": ({"abstract_relation", "fields", "notation", "persistence", "significance"}, NUMPY_ONLY),
    "contingency": (
        {"abstract_relation", "containers", "fields", "notation", "persistence", "significance"},
        {"pandas"},
    ),
    "functional_dependencies": (
        {"abstract_relation", "contingency", "equations", "fields", "notation", "significance"},
        {"pandas"},
    ),
    "flags": ({"abstract_relation", "fields", "notation", "significance"}, NUMPY_ONLY),
    "relations": (
        {
            *("abstract_relation", "contingency", "fields", "flags", "functional_dependencies", "inequalities"),
            *("notation", "products", "significance", "sums"),
        },
        {"pandas"},
    ),
    "derivation": ({"abstract_relation", "equations", "fields", "inequalities"}, NUMPY_ONLY),
    "constraint_specs": ({"persistence"}, NUMPY_ONLY),
    "columns": ({"containers", "curves", "fields", "moments", "persistence", "scalings"}, {"pandas"}),
    "dependents": (
        {
            *("abstract_relation", "columns", "constraint_specs", "containers", "contingency", "derivation", "equations"),
            *("fields", "flags", "inequalities", "modalities", "persistence", "scalings"),
        },
        NUMPY_ONLY,
    ),
    "modalities": ({"containers", "persistence"}, NUMPY_ONLY),
    "tables": (
        {
            *("columns", "constraint_specs", "containers", "curves", "dependents", "fields", "modalities", "persistence"),
            *("relations", "scalings"),
        },
        {"pandas", "narwhals"},
    ),
    "images": ({"containers", "modalities", "moments", "persistence", "scalings"}, NUMPY_ONLY),
    "counts": ({"containers", "curves", "modalities", "persistence", "sparse"}, {"pandas", "narwhals"}),
    "arrays": ({"containers", "images", "modalities", "tables"}, {"pandas", "narwhals"}),
    "schema": (
        {"arrays", "containers", "counts", "images", "modalities", "persistence", "sparse", "tables"},
        {"pandas", "narwhals"},
    ),
    # with torch: the models
    "sizes": (set(), NUMPY_ONLY),
    "contexts": ({"sizes"}, {"torch"}),
    "training": ({"sizes"}, {"torch"}),
    "sparse_tensors": ({"sparse"}, {"torch"}),
    "rows": ({"modalities", "sizes", "sparse", "sparse_tensors"}, {"torch", "sklearn"}),
    "networks": ({"contexts", "sizes"}, {"torch"}),
    "abstract_likelihood": (set(), {"torch"}),
    "tails": (set(), {"torch"}),
    "histogram": ({"abstract_likelihood", "contexts"}, {"torch"}),
    "likelihoods": ({"abstract_likelihood", "contexts", "histogram", "tails"}, {"torch"}),
    "count_likelihoods": ({"abstract_likelihood", "counts", "scalings", "sparse_tensors", "tails"}, {"torch"}),
    "constraints": ({"abstract_likelihood", "constraint_specs"}, {"torch"}),
    "decoders": ({"abstract_likelihood", "constraints", "likelihoods", "networks", "rows", "scalings"}, {"torch"}),
    "mixtures": ({"sizes"}, {"torch"}),
    "regressions": (set(), {"torch"}),
    "autoregressive": (
        {
            *("abstract_likelihood", "constraint_specs", "constraints", "contexts", "decoders", "mixtures", "networks"),
            *("regressions", "rows", "scalings", "sizes"),
        },
        {"torch"},
    ),
    "pixels": ({"abstract_likelihood", "decoders", "networks", "rows", "scalings"}, {"torch"}),
    "views": (
        {
            *("constraints", "count_likelihoods", "counts", "decoders", "images", "likelihoods", "networks", "pixels"),
            *("rows", "scalings", "tables"),
        },
        {"torch"},
    ),
    "priors": ({"training"}, {"torch"}),
    "laplace": ({"contexts"}, {"torch"}),
    "autoencoder": ({"contexts", "decoders", "laplace", "networks", "priors", "rows", "sizes", "views"}, {"torch"}),
    "abstract_generator": ({"rows", "views"}, {"torch"}),
    "chain_stages": ({"abstract_generator", "autoregressive", "rows"}, {"torch"}),
    "parts": ({"abstract_generator", "autoencoder", "pixels", "rows", "views"}, {"torch"}),
    "joint": (
        {
            *("abstract_generator", "autoencoder", "autoregressive", "chain_stages", "parts", "pixels", "priors"),
            *("rows", "scalings", "views"),
        },
        {"torch"},
    ),
    "generators": ({"abstract_generator", "autoregressive", "chain_stages", "joint", "parts", "views"}, {"torch"}),
    "model": ({"autoencoder", "generators", "rows", "views"}, {"torch"}),
    "fitting": ({"abstract_generator", "contexts", "model", "priors", "rows", "sizes", "training"}, {"torch"}),
    # what a person touches
    "texts": (set(), NUMPY_ONLY),
    "compared_columns": ({"arrays", "columns", "containers"}, {"pandas", "narwhals", "sklearn"}),
    "fidelity": ({"compared_columns"}, {"pandas"}),
    "kept_relations": ({"columns", "compared_columns", "containers", "fields", "relations"}, {"pandas"}),
    "boosted_trees": ({"compared_columns"}, NUMPY_ONLY),
    "privacy": ({"compared_columns"}, {"pandas"}),
    "comparison": ({"boosted_trees", "compared_columns", "fidelity", "kept_relations"}, {"pandas"}),
    "measures": ({"boosted_trees", "comparison", "fidelity", "privacy"}, {"pandas"}),
    "binned_distributions": ({"compared_columns"}, {"pandas"}),
    "projections": ({"binned_distributions", "compared_columns", "fidelity"}, {"narwhals"}),
    "report_plots": ({"binned_distributions", "projections", "texts"}, NUMPY_ONLY),
    "report_verdict": ({"texts"}, NUMPY_ONLY),
    "report_page": ({"binned_distributions", "measures", "report_plots", "report_verdict", "texts"}, {"pandas"}),
    "quality": (
        {
            *("binned_distributions", "compared_columns", "comparison", "measures", "projections"),
            *("report_page", "report_plots", "report_verdict", "targets", "texts"),
        },
        {"narwhals", "sklearn"},
    ),
    "estimator": (
        {
            *(
                "autoencoder",
                "containers",
                "contexts",
                "counts",
                "fitting",
                "generators",
                "images",
                "likelihoods",
                "modalities",
                "model",
                "networks",
            ),
            *("persistence", "priors", "relations", "rows", "schema", "sizes", "sparse", "views", "_version"),
        },
        {"torch", "narwhals", "pandas", "sklearn"},
    ),
    "targets": (set(), NUMPY_ONLY),
    "terminal": (set(), NUMPY_ONLY),
    "files": ({"_version", "archive", "estimator", "persistence", "targets", "values"}, {"torch", "sklearn"}),
    "table_files": ({"targets", "terminal"}, {"pandas"}),
    "commands": (
        {
            *("archive", "containers", "estimator", "files", "quality", "relations", "schema", "table_files"),
            *("targets", "terminal"),
        },
        {"pandas"},
    ),
    "cli": ({"_version", "commands", "targets", "terminal"}, NUMPY_ONLY),
    "outliers": ({"estimator"}, {"narwhals", "pandas", "sklearn"}),
    "plotted_columns": ({"containers"}, NUMPY_ONLY),
    "artists": ({"plotted_columns", "texts"}, NUMPY_ONLY),
    "mosaics": ({"artists", "images"}, NUMPY_ONLY),
    "display_inputs": ({"estimator", "mosaics", "plotted_columns"}, {"sklearn"}),
    "latent_space_display": ({"artists", "display_inputs", "plotted_columns", "texts"}, {"sklearn"}),
    "loss_curve_display": ({"artists", "display_inputs"}, NUMPY_ONLY),
    "manifold_display": ({"artists", "display_inputs", "mosaics"}, NUMPY_ONLY),
    "reconstruction_display": ({"artists", "display_inputs", "mosaics", "plotted_columns"}, NUMPY_ONLY),
    "samples_display": ({"artists", "display_inputs", "mosaics", "texts"}, {"sklearn"}),
    "traversal_display": ({"artists", "display_inputs", "mosaics", "plotted_columns", "texts"}, {"narwhals"}),
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
