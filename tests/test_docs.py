"""The documentation is whole: docstrings of public names, code blocks of pages, and the form of examples."""

import ast
import inspect
import re
import textwrap
from pathlib import Path

import pytest

import skvae

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.rst"))
TEXTS = [*PAGES, *sorted(ROOT.glob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))

# What numpydoc may find without harm: summaries are of any length and mood, descriptions need no capital and no full stop,
# names of returned values are allowed, and See Also, Examples and an extended summary are written where they help.
ALLOWED = {"ES01", "EX01", "GL01", "GL02", "GL03", "PR08", "PR09", "RT02", "RT03", "RT04", "RT05", "SA01", "SA04"}
ALLOWED |= {"SS03", "SS05", "SS06"}
# Nobody but `quality_report` makes one, so that its constructor has no documented parameters.
ALLOWED_OF = {"QualityReport": {"PR01"}}


def public_names():
    """Every public class, function, method and property of ours, as "Class" or "Class.method"."""
    for name in skvae.__all__:
        member = getattr(skvae, name)
        if callable(member):
            yield name
        if inspect.isclass(member):
            own = [(base, vars(base)) for base in member.__mro__ if base.__module__.startswith("skvae.")]
            names = {key for _, members in own for key, value in members.items() if _is_method(value)}
            yield from (f"{name}.{key}" for key in sorted(names) if not key.startswith("_"))


def _is_method(value):
    return inspect.isfunction(value) or isinstance(value, (property, classmethod, staticmethod))


def public_functions():
    """Those of `public_names` that are called, with their names."""
    for name in public_names():
        owner, _, attribute = name.rpartition(".")
        found = getattr(getattr(skvae, owner) if owner else skvae, attribute)
        if inspect.isroutine(found):
            yield pytest.param(inspect.unwrap(found), id=name)


@pytest.mark.parametrize("name", list(public_names()))
def test_public_docstrings_follow_numpydoc(name):
    validate = pytest.importorskip("numpydoc.validate", reason='numpydoc is not installed; it is in the extra "docs"')
    found = validate.validate(f"skvae.{name}")["errors"]
    assert [error for error in found if error[0] not in ALLOWED | ALLOWED_OF.get(name, set())] == []


@pytest.mark.parametrize("function", list(public_functions()))
def test_what_raises_says_so(function):
    """A public function that raises an error, or calls what checks arguments, has a section Raises (but of imports)."""
    body = ast.parse(textwrap.dedent(inspect.getsource(function)))
    calls = [node.func.id for node in ast.walk(body) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    raises = any(isinstance(node, ast.Raise) for node in ast.walk(body))
    if raises or any(re.match("_?check_(?!matplotlib|is_fitted)", call) for call in calls):
        assert re.search(r"^\s*Raises\n\s*------\n", function.__doc__, re.MULTILINE)


def test_every_public_name_is_in_the_api_reference():
    page = (ROOT / "docs" / "api.rst").read_text()
    assert [name for name in skvae.__all__ if not re.search(rf"^\s+{name}$|:: {name}$", page, re.MULTILINE)] == []


def test_every_page_is_in_the_contents():
    contents = {entry for page in PAGES for entry in re.findall(r"^   (\w+)$", page.read_text(), re.MULTILINE)}
    assert {page.stem for page in PAGES} - {"index"} <= contents


def code_blocks(path):
    """Python code of a page in reStructuredText or Markdown."""
    text = path.read_text()
    if path.suffix == ".md":
        return re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    return [textwrap.dedent(block) for block in re.findall(r"code-block:: python\n\n((?:   .*\n|\n)+)", text)]


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_code_blocks_parse(path):
    text = path.read_text()
    blocks = code_blocks(path)
    assert len(blocks) == text.count("code-block:: python\n" if path.suffix == ".rst" else "```python\n")
    for block in blocks:
        compile(block, path.name, "exec")


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_examples_that_are_named_exist(path):
    named = re.findall(r"sphx_glr_auto_examples_(\w+\.py)|examples/(\w+\.py)", path.read_text())
    assert {first or second for first, second in named} <= {example.name for example in EXAMPLES}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_have_a_title_and_a_question(path):
    """As the gallery shows them: a title and a question first, then cells that each begin with a title."""
    text = path.read_text()
    title, line, empty, *rest = ast.get_docstring(ast.parse(text)).splitlines()
    assert line == "=" * len(title)
    assert empty == ""
    assert "?" in " ".join(rest).split("Writes")[0]
    cells = re.findall(r"^# %%\n(.*)\n(.*)\n", text, re.MULTILINE)
    assert len(cells) == text.count("# %%\n") >= 2
    for heading, underline in cells:
        assert underline == "# " + "-" * (len(heading) - 2), heading


def test_every_example_is_listed():
    """A new example gets a line in examples/GALLERY_HEADER.rst, beside those of the same kind."""
    listed = re.findall(r":ref:`sphx_glr_auto_examples_(\w+\.py)`", (ROOT / "examples" / "GALLERY_HEADER.rst").read_text())
    assert sorted(listed) == [example.name for example in EXAMPLES]


def test_the_changelog_knows_the_version():
    assert f"## [{skvae.__version__}]" in (ROOT / "CHANGELOG.md").read_text()
