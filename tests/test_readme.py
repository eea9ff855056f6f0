"""What a newcomer reads is true: the README's code runs, and so do the docstrings'."""

import doctest
import importlib
import inspect
import re
from pathlib import Path

import pytest

import skvae

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_python_blocks_run_in_order():
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) >= 3
    scope = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), scope)


def test_commands_keep_the_pinned_versions():
    commands = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    assert len(commands) == 2
    assert all("pip install -c constraints.txt" in command for command in commands)


@pytest.mark.parametrize("module", ["skvae", *(f"skvae.{p.stem}" for p in Path(skvae.__file__).parent.glob("[!_]*.py"))])
def test_docstring_examples_run(module):
    assert doctest.testmod(importlib.import_module(module), raise_on_error=False).failed == 0


def test_every_public_method_is_documented_with_its_parameters():
    for name, method in inspect.getmembers(skvae.VAETransformer, inspect.isfunction):
        if name.startswith("_") or method.__module__ != "skvae.estimator":
            continue
        for parameter in list(inspect.signature(method).parameters)[1:]:
            assert re.search(rf"^\s*{parameter} :", method.__doc__, re.MULTILINE), (name, parameter)


def test_every_constructor_parameter_and_fitted_attribute_is_documented(mixed_frame):
    document = inspect.getdoc(skvae.VAETransformer)
    fitted = skvae.VAETransformer(max_iter=2).fit(mixed_frame)
    names = [*fitted.get_params(), *(name for name in vars(fitted) if name.endswith("_"))]
    assert [name for name in names if not re.search(rf"^{name} :", document, re.MULTILINE)] == []
