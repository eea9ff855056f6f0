"""The command line: every command on small files, and that tables are written in the form in which they were read."""

import gzip
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import skvae
from skvae.cli import main, parser
from skvae.table_files import read_cell, read_column, read_table, write_column, write_table

N = 120


def text_table():
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 3, N)
    day = np.datetime64("2020-01-01") + rng.integers(0, 300, N)
    moment = np.datetime64("2021-03-01T00:00") + rng.integers(0, 10**6, N)
    return pd.DataFrame(
        {
            "id": [f"P{at:04d}" for at in range(N)],
            "sex": np.where(rng.random(N) < 0.5, "Female", "Male"),
            "age": (rng.integers(18, 80, N)).astype(str),
            "zip": np.array(["00123", "04567", "90001"])[kind],
            "price": [f"{value:.2f}" for value in rng.gamma(2, 5, N) + kind],
            "ok": np.where(rng.random(N) < 0.5, "true", "false"),
            "day": day.astype(str),
            "moment": [f"{text.replace('T', ' ')}Z" for text in moment.astype(str)],
            "children": np.where(rng.random(N) < 0.2, "NA", rng.poisson(kind + 1).astype(str)),
            "note": [f'x, "{at}"' for at in kind],
        }
    )


FORMS = {
    "age": r"\d\d",
    "zip": "00123|04567|90001",
    "price": r"\d+\.\d\d",
    "ok": "true|false",
    "day": r"20\d\d-\d\d-\d\d",
    "moment": r"20\d\d-\d\d-\d\d \d\d:\d\dZ",
    "children": r"\d+|NA",
    "note": r'x, "[012]"',
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of a table and a model of it."""
    folder = tmp_path_factory.mktemp("cli")
    text_table().to_csv(folder / "data.csv", index=False)
    options = ["--max-iter", "1", "--seed", "0", "--hidden-layer-sizes", "4", "--likelihood", "age=poisson", "-q"]
    assert main(["fit", str(folder / "data.csv"), "-o", str(folder / "model.skvae"), *options]) == 0
    return folder


@pytest.fixture
def run(folder, capsys, monkeypatch):
    """A command run in the folder: what it returns, and what it writes to stdout and stderr."""
    monkeypatch.chdir(folder)

    def run_command(*arguments, stdin=None):
        if stdin is not None:
            monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        code = main(list(arguments))
        return code, *capsys.readouterr()

    return run_command


def as_texts(content):
    return pd.read_csv(io.StringIO(content), dtype=str, keep_default_na=False)


def test_drawn_rows_are_written_in_the_form_of_the_data(run):
    code, out, err = run("sample", "model.skvae", "-n", "200", "--seed", "1")
    assert (code, err) == (0, "")
    drawn = as_texts(out)
    assert list(drawn.columns) == list(text_table().columns)
    assert len(drawn) == 200
    for name, form in FORMS.items():
        assert drawn[name].str.fullmatch(form).all(), name
    assert drawn["id"].str.fullmatch(r"P0\d{3}").all()
    assert run("sample", "model.skvae", "-n", "200", "--seed", "1")[1] == out


def test_rows_given_values(run):
    given = ["--given", "sex=Female", "--given", "zip=00123", "--given", "children=NA", "--given", "day=2020-02-03"]
    code, out, _ = run("sample", "model.skvae", "-n", "5", *given)
    assert code == 0
    assert (as_texts(out)[["sex", "zip", "children", "day"]] == ["Female", "00123", "NA", "2020-02-03"]).all(axis=None)


def test_what_is_filled_in_is_all_that_changes(run):
    assert run("impute", "model.skvae", "data.csv", "-o", "full.csv") == (0, "", "")
    before, after = text_table(), as_texts(Path("full.csv").read_text())
    holed = before["children"] == "NA"
    pd.testing.assert_frame_equal(after.drop(columns="children"), before.drop(columns="children"), check_dtype=False)
    assert (after["children"] == before["children"])[~holed].all()
    assert after["children"].str.fullmatch(r"\d+").all()
    code, out, _ = run("impute", "model.skvae", "data.csv", "--draws", "2", "--seed", "0")
    assert code == 0
    assert as_texts(out)["draw"].tolist() == ["1"] * N + ["2"] * N


def test_latents_and_scores_are_those_of_python(run):
    vae = skvae.load("model.skvae")
    frame = read_table("data.csv").frame
    data = Path("data.csv").read_text()
    latents = pd.read_csv(io.StringIO(run("transform", "model.skvae", "-", stdin=data)[1]))
    assert_allclose(latents, vae.transform(frame))
    assert run("score", "model.skvae", "data.csv", "-o", "scores.parquet", "--cells", "2")[0] == 0
    scores, cells = pd.read_parquet("scores.parquet"), vae.score_cells(frame, kind="log_p_value")
    assert_allclose(scores["score"], vae.score_samples(frame))
    assert list(scores.columns) == ["row", "score", "cell_1", "p_value_1", "cell_2", "p_value_2"]
    assert list(scores["cell_1"]) == list(cells.idxmin(axis=1))
    assert_allclose(scores["p_value_1"], np.exp(cells.min(axis=1)))
    assert (scores["p_value_1"] <= scores["p_value_2"]).all()


def test_columns_may_come_in_another_order(run):
    turned = text_table().iloc[:, ::-1]
    turned.to_csv("turned.csv", index=False)
    assert run("score", "model.skvae", "turned.csv") == run("score", "model.skvae", "data.csv")
    filled = as_texts(run("impute", "model.skvae", "turned.csv")[1])
    assert list(filled.columns) == list(turned.columns)
    straight = as_texts(run("impute", "model.skvae", "data.csv")[1])
    pd.testing.assert_frame_equal(filled, straight[list(turned.columns)])


def test_what_is_imputed_keeps_the_form_of_its_own_file(run):
    frame = text_table().assign(price="1.2345", age="+40")
    frame.loc[0, ["price", "age"]] = ""
    Path("other.csv").write_text(frame.to_csv(index=False, sep=";", lineterminator="\n"))
    for options in ([], ["--draws", "2"]):
        filled = pd.read_csv(io.StringIO(run("impute", "model.skvae", "other.csv", *options)[1]), sep=";", dtype=str)
        assert filled["price"][0] != ""
        assert (filled["price"][1:N] == "1.2345").all()
        assert (filled["age"][1:N] == "+40").all()


def test_parquet_needs_pyarrow(run, monkeypatch):
    monkeypatch.setattr("skvae.targets.find_spec", lambda name: None)
    message = "skvae: Parquet files need pyarrow. Install it: pip install pyarrow. Or use CSV.\n"
    for arguments in (["fit", "a.parquet", "-o", "x"], ["sample", "model.skvae", "-o", "a.pq"]):
        assert run(*arguments) == (1, "", message)


def test_a_model_of_parquet_reads_what_it_writes_as_csv(run):
    rng = np.random.default_rng(0)
    columns = {
        "span": pd.to_timedelta(rng.integers(60, 9000, 80), unit="s"),
        "seconds": pd.to_timedelta(rng.integers(-900, 900, 80), unit="ms").astype("timedelta64[ms]"),
        "when": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 10**6, 80), unit="s"),
        "code": rng.choice(["1", "2"], 80),
        "level": pd.Categorical(rng.choice(["3", "NA"], 80)),
        "few": pd.array(rng.integers(0, 5, 80), dtype="Int8"),
    }
    pd.DataFrame(columns).to_parquet("spans.parquet")
    options = ["--max-iter", "1", "--hidden-layer-sizes", "4", "--relations", "none"]
    assert run("fit", "spans.parquet", "-o", "spans.skvae", *options)[0] == 0
    given = ["--given", "span=0 days 01:00:00", "--given", "code=1", "--given", "level=NA"]
    assert run("sample", "spans.skvae", "-n", "9", "-o", "spans.csv", *given) == (0, "", "")
    assert set(as_texts(Path("spans.csv").read_text())["span"]) == {"0 days 01:00:00"}
    code, out, err = run("score", "spans.skvae", "spans.csv")
    assert (code, out.count("\n"), err) == (0, 10, "")


def test_a_row_is_explained_alike_in_any_file(run):
    header, *rows = Path("data.csv").read_text().splitlines(keepends=True)
    among = pd.read_csv(io.StringIO(run("score", "model.skvae", "data.csv")[1]))
    for at in (0, 17, 80):
        alone = pd.read_csv(io.StringIO(run("score", "model.skvae", "-", stdin=header + rows[at])[1]))
        cells = ["cell_1", "cell_2", "cell_3"]
        assert (alone[cells] == among.loc[[at], cells].reset_index(drop=True)).all(axis=None)
        assert_allclose(alone["p_value_1"][0], among["p_value_1"][at], rtol=1e-6)


def test_reports_and_relations(run):
    run("sample", "model.skvae", "-n", "120", "-o", "new.csv.gz")
    code, out, _ = run("report", "data.csv", "new.csv.gz", "--holdout", "data.csv", "-o", "report.html")
    assert code == 0
    assert "Single columns differ" in out
    assert Path("report.html").read_text().startswith("<!DOCTYPE html>")
    assert "always  zip <-> note" in run("relations", "data.csv")[1]
    assert run("relations", "data.csv", "-o", "relations.csv") == (0, "", "")
    assert "zip <-> note" in list(pd.read_csv("relations.csv")["relation"])


def test_what_a_model_holds(run):
    code, out, _ = run("info", "model.skvae")
    assert code == 0
    assert f"written by skvae {skvae.__version__}" in out
    for line in (
        r"id +\w+ \(text\) +identifier",
        r"age +int64 \(integer\) +poisson",
        "always  zip <-> note",
        "held-out bound",
    ):
        assert re.search(line, out)
    skvae.save(skvae.VAETransformer(), "empty.skvae")
    assert "not fitted" in run("info", "empty.skvae")[1]


def test_parquet_keeps_its_dtypes(run, tmp_path):
    frame = read_table("data.csv").frame
    frame = frame.assign(zip=frame["zip"].astype("category"), price=frame["price"].astype("float32"))
    frame.to_parquet("data.parquet")
    options = ["--max-iter", "1", "--hidden-layer-sizes", "4", "--generator", "latent", "--relations", "none"]
    assert run("fit", "data.parquet", "-o", "other.skvae", *options)[0] == 0
    assert run("sample", "other.skvae", "-n", "9", "-o", "new.parquet", "--given", "zip=00123")[0] == 0
    assert dict(pd.read_parquet("new.parquet").dtypes) == dict(pd.read_parquet("data.parquet").dtypes)
    assert run("sample", "other.skvae", "-n", "9")[1].count("\n") == 10


def test_a_model_of_an_array_writes_columns_of_its_names(run):
    X = np.random.default_rng(0).normal(size=(50, 3)).round(1)
    skvae.save(skvae.VAETransformer(max_iter=1, hidden_layer_sizes=(4,), generator="latent").fit(X), "array.skvae")
    assert run("sample", "array.skvae", "-n", "2")[1].startswith("x0,x1,x2\n")


def test_files_are_replaced_only_by_whole_ones(run, monkeypatch):
    Path("kept.csv").write_text("former")

    def fail(self, *arguments, **keywords):
        raise ValueError("no rows")

    monkeypatch.setattr(skvae.VAETransformer, "sample", fail)
    assert run("sample", "model.skvae", "-o", "kept.csv") == (1, "", "skvae: no rows\n")
    assert Path("kept.csv").read_text() == "former"
    assert not list(Path().glob(".*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sample", "none.skvae"], "none.skvae: No such file or directory"),
        (["sample", "data.csv"], "data.csv was not written by skvae.save"),
        (["fit", "none.csv", "-o", "x.skvae"], "none.csv: No such file"),
        (["fit", "data.csv", "-o", "none/x.skvae"], "none: No such folder"),
        (["fit", "data.csv", "-o", "../{folder}/data.csv"], "data.csv is an input: -o would replace it. Name another file"),
        (["fit", "data.csv", "-o", "x.skvae", "--likelihood", "what=poisson"], "data.csv has no column 'what'. It has id"),
        (["fit", "data.csv", "-o", "x.skvae", "--likelihood", "poisson", "--likelihood", "a"], "is one NAME for all"),
        (["fit", "data.csv", "-o", "x.skvae", "--prior", "odd"], "The 'prior' parameter of VAETransformer must be"),
        (["sample", "model.skvae", "--given", "what=1"], "--given must be COLUMN=VALUE with a column of the model: id, sex"),
        (["sample", "model.skvae", "--given", "age=old"], "'old' is not a valid value for this column, which"),
        (["sample", "model.skvae", "--given", "age=40", "--given", "age=41"], "--given must name a column once. Got 2"),
        (["fit", "data.csv", "-o", "x", "--likelihood", "a=poisson", "--likelihood", "a=gaussian"], "must name a column"),
        (["fit", "data.csv", "-o", "x", "--likelihood", "price=bogus"], "likelihood of column 'price' must be a str among"),
        (["fit", "data.csv", "-o", "x", "--relations", "none", "--relations", "not a -> b"], "none must be the only one"),
        (["fit", "none.parquet", "-o", "x"], "skvae: none.parquet: No such file or directory"),
        (["fit", "fake.csv.gz", "-o", "x"], "fake.csv.gz is not a gzip file, or is damaged"),
        (["fit", "fake.parquet", "-o", "x"], "fake.parquet is not a Parquet file, or is damaged"),
        (["sample", "empty.skvae"], "empty.skvae holds a model that is not fitted"),
        (["score", "model.skvae", "further.csv"], "further.csv has columns that the model does not have: more."),
        (["score", "model.skvae", "lacking.csv"], "lacking.csv lacks columns of the model: age, note."),
        (["transform", "model.skvae", "bad.csv"], "bad.csv has 'old' in column 'age', which held values of type int"),
        (["relations", "double.csv"], "double.csv has two columns named 'a'"),
        (["relations", "ragged.csv"], "ragged.csv is not a table: Expected 1 fields in line 2, saw 2"),
        (["relations", "empty.csv"], "empty.csv has no header line with column names"),
        (["relations", "latin.csv"], "latin.csv is not encoded in UTF-8"),
        (["relations", "cut.csv.gz"], "cut.csv.gz is not a gzip file, or is damaged"),
    ],
)  # fmt: skip
def test_errors_are_one_line(run, arguments, message):
    text_table().replace({"age": {text_table()["age"][0]: "old"}}).to_csv("bad.csv", index=False)
    text_table().assign(more="1").to_csv("further.csv", index=False)
    text_table().drop(columns=["age", "note"]).to_csv("lacking.csv", index=False)
    skvae.save(skvae.VAETransformer(), "empty.skvae")
    for name in ("fake.csv.gz", "fake.parquet"):
        Path(name).write_text("a\n1\n")
    Path("double.csv").write_text("a,a\n1,2\n")
    Path("ragged.csv").write_text("a\n1,2\n")
    Path("empty.csv").write_text("")
    Path("latin.csv").write_bytes("a\né\n".encode("latin-1"))
    Path("cut.csv.gz").write_bytes(gzip.compress(b"a\n1\n")[:-9])
    code, out, err = run(*(one.format(folder=Path.cwd().name) for one in arguments))
    assert (code, out) == (1, "")
    assert err.startswith("skvae: ")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sample", "model.skvae", "-n", "0"], "argument -n/--rows: must be an int in the range [1, inf). Got '0' instead"),
        (["sample", "model.skvae", "--seed", "-1"], "--seed: must be an int in the range [0, 4294967295]. Got '-1'"),
        (["score", "model.skvae", "data.csv", "--cells", "-1"], "--cells: must be an int in the range [0, inf). Got '-1'"),
        (
            ["fit", "data.csv", "-o", "x", "--max-iter", "many"],
            "--max-iter: must be an int in the range [1, inf). Got 'many'",
        ),
        (
            ["fit", "data.csv", "-o", "x", "--hidden-layer-sizes", "8,a"],
            "must be an int in the range [1, inf). Got 'a' instead",
        ),
        (["sample", "model.skvae", "-o", "new.xlsx"], "argument -o/--output: must end in one of .csv, .tsv, .txt, .csv.gz"),
        (["report", "data.csv", "data.csv", "-o", "r.pdf"], "must end in one of .html, .htm. Got 'r.pdf' instead"),
        (["fit", "data.csv"], "the following arguments are required: -o/--output. See skvae fit --help."),
    ],
)
def test_wrong_options_are_one_line(run, capsys, arguments, message):
    with pytest.raises(SystemExit) as ended:
        run(*arguments)
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("skvae: ")
    assert message in err
    assert err.count("\n") == 1


COMMANDS_WITH_OUTPUT = {
    "fit": ["data.csv"],
    "sample": ["model.skvae"],
    "transform": ["model.skvae", "data.csv"],
    "impute": ["model.skvae", "data.csv"],
    "score": ["model.skvae", "data.csv"],
    "report": ["data.csv", "data.csv"],
    "relations": ["data.csv"],
}


@pytest.mark.parametrize(("name", "inputs"), COMMANDS_WITH_OUTPUT.items())
@pytest.mark.parametrize("fault", ["No such folder", "It is a folder. Name a file in it", "Permission denied"])
def test_outputs_are_checked_before_the_work(run, monkeypatch, name, inputs, fault):
    monkeypatch.setattr(f"skvae.commands.{name}", lambda arguments: pytest.fail("the work was done"))
    Path("folder.html").mkdir(exist_ok=True)
    Path("folder.csv").mkdir(exist_ok=True)
    ending = ".html" if name == "report" else ".csv"
    path = f"folder{ending}" if "It is" in fault else f"none/x{ending}" if "No such" in fault else f"x{ending}"
    if fault == "Permission denied":
        monkeypatch.setattr("os.access", lambda path, mode: False)
    code, out, err = run(name, *inputs, "-o", path)
    assert (code, out) == (1, "")
    assert err.endswith(f": {fault}\n")
    assert err.count("\n") == 1


def interrupt(*arguments, **keywords):
    raise KeyboardInterrupt


def test_an_interrupt_is_told_and_writes_nothing(run, monkeypatch):
    monkeypatch.setattr(skvae.VAETransformer, "fit", interrupt)
    assert run("fit", "data.csv", "-o", "x.skvae") == (130, "", "skvae: interrupted; nothing was written\n")
    assert not Path("x.skvae").exists()


def test_an_interrupt_in_training_is_one_line(run, monkeypatch):
    monkeypatch.setattr("skvae.commands.ProgressLine.on_fit_task_end", interrupt)
    assert run("fit", "data.csv", "-o", "x.skvae", "--max-iter", "2", "--hidden-layer-sizes", "4") == (
        130,
        "",
        "skvae: interrupted; nothing was written\n",
    )
    assert not Path("x.skvae").exists()


def test_an_interrupt_does_not_deny_rows_in_a_pipe(run, monkeypatch):
    monkeypatch.setattr(pd.DataFrame, "to_csv", interrupt)
    assert run("sample", "model.skvae") == (130, "", "skvae: interrupted\n")


def test_progress_is_shown_on_a_terminal_only(run, monkeypatch):
    options = ["--max-iter", "2", "--hidden-layer-sizes", "4"]
    assert run("fit", "data.csv", "-o", "x.skvae", *options)[2] == ""
    monkeypatch.setattr("skvae.terminal.on_a_terminal", lambda: True)
    assert run("fit", "data.csv", "-o", "x.skvae", *options, "-q")[2] == ""
    first, *lines = run("fit", "data.csv", "-o", "x.skvae", *options)[2].split("\r\x1b[K")
    assert (first, lines[-1]) == ("", "")  # erased
    for line, model, epoch in zip(lines[-5:-1], ["Autoencoder"] * 2 + ["Generator"] * 2, [1, 2] * 2, strict=True):
        assert re.fullmatch(rf"{model}, epoch {epoch} of at most 2: held out \S+; at most \d+ s left", line)
    assert run("sample", "none.skvae")[2] == "\r\x1b[Ksampling ...\r\x1b[Kskvae: none.skvae: No such file or directory\n"


def commands():
    return next(action for action in parser()._actions if action.dest == "command").choices


@pytest.mark.parametrize("name", [None, *commands()])
def test_every_help_has_an_example(name, capsys):
    with pytest.raises(SystemExit) as ended:
        main([] if name is None else [name, "--help"])
    assert ended.value.code == (2 if name is None else 0)
    if name is not None:
        words = " ".join(capsys.readouterr().out.split()).partition("example: skvae ")[2].split()
        parser().parse_args(words)
        assert words[0] == name


def shell(command, cwd):
    environment = os.environ | {"PYTHONPATH": str(Path(skvae.__file__).parents[1])}
    script = f'skvae() {{ {sys.executable} -m skvae "$@"; }}; {command}'
    return subprocess.run(["bash", "-c", script], cwd=cwd, env=environment, capture_output=True, text=True, timeout=60)


def test_help_needs_no_heavy_library():
    code = (
        "import sys; import skvae.cli; skvae.cli.parser().format_help(); "
        "print({'torch', 'pandas', 'numpy', 'sklearn'} & set(sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "set()\n"


def test_the_module_runs_in_pipes(folder):
    ended = shell("skvae --version && skvae --help", folder)
    assert ended.stdout.startswith(f"skvae {skvae.__version__}\nusage: skvae")
    ended = shell("set -o pipefail; skvae sample model.skvae -n 20000 --seed 0 | head -2", folder)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.count("\n") == 2
    assert shell("cat data.csv | skvae score model.skvae - | wc -l", folder).stdout.strip() == str(N + 1)


def test_open_files_are_written_directly(folder):
    head = "id,sex,age,zip,price,ok,day,moment,children,note"
    sample = "skvae sample model.skvae -n 3 --seed 0 -o"
    assert shell(f"{sample} /dev/stdout | head -1", folder).stdout == f"{head}\n"
    ended = shell(f"(echo before; {sample} /dev/stdout; echo after) > whole.csv; cat whole.csv", folder)
    assert ended.stderr == ""
    lines = ended.stdout.splitlines()
    assert (lines[0], lines[1], lines[-1], len(lines)) == ("before", head, "after", 6)
    assert shell(f"{sample} /dev/fd/3 3>third.csv; head -1 third.csv", folder).stdout == f"{head}\n"
    assert shell(f"mkfifo pipe; {sample} pipe & head -1 pipe; wait", folder).stdout == f"{head}\n"


def test_closed_streams_are_told(folder):
    ended = shell("skvae sample model.skvae -n 5 >&-; skvae info model.skvae >&-; skvae relations - <&-", folder)
    assert ended.stderr == "skvae: stdout: It is closed\n" * 2 + "skvae: stdin: It is closed\n"


def test_models_go_through_pipes(folder):
    fit = "skvae fit data.csv --max-iter 1 --hidden-layer-sizes 4 --generator latent -o -"
    assert shell(f"{fit} | skvae sample - -n 7 | wc -l", folder).stdout == "8\n"
    assert not (folder / "-").exists()
    assert "stdin can be read only once" in shell("skvae score - - < data.csv", folder).stderr


# --- forms of columns ------------------------------------------------------------------------------------------------

COLUMNS = [
    (["1", "-2", "0"], "int64"),
    (["1", "", "3"], "Int64"),
    (["1", "null", "3"], "Int64"),
    (["01", "02", "10"], "str"),
    (["1.50", "2.25", "-0.10"], "float64"),
    (["1.5", "2.25", "3"], "float64"),
    (["1.5", "2.25", "3.0"], "float64"),
    (["1.0", "2.0", ""], "float64"),
    (["1.5", "NaN", "0.1"], "float64"),
    (["1e-05", "2.5"], "float64"),
    (["True", "False", ""], "boolean"),
    (["TRUE", "FALSE"], "bool"),
    (["2020-02-29", "", "0001-01-01"], "datetime64[s]"),
    (["2020-02-30", "2020-02-28"], "str"),
    (["2020-01-01T00:00:00.123", "2020-01-01T00:00:01.000"], "datetime64[us]"),
    (["2020-01-01 00:00:00", ""], "datetime64[s]"),
    (["2020-01-01T10:30", "2020-01-02T00:00"], "datetime64[s]"),
    (["2020-01-01T00:00:00.123456789Z"], "datetime64[ns, UTC]"),
    (["2020-01-01T00:00:00+02:00", "2020-06-01T00:00:00+02:00"], "datetime64[s, UTC+02:00]"),
    (["2020-01-01T00:00:00-0330"], "datetime64[s, UTC-03:30]"),
    (["2020-01-01", "2020-01-01T00:00:00"], "str"),
    (["a", "", "b,c", '"'], "str"),
    (["", ""], "str"),
    (["12345678901234567890", "1"], "str"),
    (["9223372036854775807", "1"], "int64"),
    (["yes", "no"], "str"),
    (["NA", "DE", "", "None", "null"], "str"),
    (["NA", "2020-02-29"], "datetime64[s]"),
    (["0 days 01:00:00", "", "-1 days +23:59:14.445000"], "timedelta64[ns]"),
    (["0 days 25:00:00"], "str"),
    (["n/a", "true"], "boolean"),
]


@pytest.mark.parametrize(("texts", "dtype"), COLUMNS, ids=str)
def test_columns_are_read_and_written_as_they_stand(texts, dtype):
    cells, form = read_column(pd.Series(texts, dtype=object), None)
    assert cells.dtype == pd.Series(["a"]).dtype if dtype == "str" else str(cells.dtype) == dtype
    assert list(write_column(cells, form)) == texts
    again, _ = read_column(pd.Series(texts, dtype=object), form)
    pd.testing.assert_series_equal(again, cells)
    assert all(read_cell(text, form) is None or text for text in texts)


def test_words_for_nothing_are_categories_among_texts():
    cells, form = read_column(pd.Series(["NA", "", "DE", "None", "nan", ""]), None)
    assert cells.isna().tolist() == [False, True, False, False, False, True]
    assert read_cell("NA", form) == "NA"
    assert read_cell("", form) is None
    assert read_cell("NA", None, "object") == read_cell("NA", None, pd.CategoricalDtype(["NA"])) == "NA"
    assert read_cell("NA", None, "float64") is None


def test_further_texts_are_missing_and_remembered():
    cells, form = read_column(pd.Series(["-9", "1", "NA", "-9"]), None, missing=["-9", "?"])
    assert cells.isna().tolist() == [True, False, True, True]
    assert list(write_column(cells, form)) == ["-9", "1", "-9", "-9"]
    assert read_column(pd.Series(["-9", "?", "2"]), form)[0].isna().tolist() == [True, True, False]
    assert read_column(pd.Series(["a", "?"]), None, missing=["?"])[0].isna().tolist() == [False, True]


def test_decimal_commas_are_numbers_where_commas_separate_nothing(run):
    texts = pd.Series(["1,50", "", "-2,25", "3,00"])
    cells, form = read_column(texts, None, commas=True)
    assert cells.tolist()[::2] == [1.5, -2.25]
    assert list(write_column(cells, form)) == list(texts)
    assert read_cell("7,5", form) == 7.5
    for other in (["1,5", "2.5"], ["1,234,567", "1"], ["a", "1,5"], ["1,234", "999"]):
        assert read_column(pd.Series(other), None, commas=True)[1]["kind"] == "text"
    assert read_column(texts, None)[1]["kind"] == "text"
    frame = pd.DataFrame({"price": [f"{at},5" for at in range(60)], "n": [str(at % 7) for at in range(60)]})
    Path("commas.csv").write_text(frame.to_csv(sep=";", index=False))
    assert run("fit", "commas.csv", "-o", "commas.skvae", "--max-iter", "1", "--hidden-layer-sizes", "4") == (0, "", "")
    _, out, _ = run("sample", "commas.skvae", "-n", "9", "--given", "n=3")
    assert re.fullmatch(r"price;n\n(-?\d+,\d;3\n){9}", out)


def test_texts_that_are_not_modelled_as_expected_are_told(run):
    columns = {
        "paid": [f"{at % 10},5" for at in range(60)],
        "day": [f"{at % 28 + 1}/12/2024" for at in range(60)],
        "n": [str(at % 20) if at % 20 else "?" for at in range(60)],
        "d": [f"{at} and {at * at % 7}" for at in range(60)],
        "zip": ["00123", "90001", "90002"] * 20,
        "word": ["a", "b"] * 30,
    }
    pd.DataFrame(columns).to_csv("texts.csv", index=False)
    code, out, err = run("fit", "texts.csv", "-o", "texts.skvae", "--max-iter", "1", "--hidden-layer-sizes", "4")
    assert (code, out) == (0, "")
    numbers, dates, placeholders = err.splitlines()
    assert numbers.startswith(
        "skvae: warning: texts that look like numbers are not read as numbers: 'paid' (such as '0,5'), "
        "'n' (--missing '?' if that means missing). Numbers are read like 1234.5"
    )
    assert "not read as dates: 'day' (such as '1/12/2024'). Dates are read like 2024-12-31" in dates
    assert placeholders == (
        "skvae: warning: column 'd' holds texts that all differ: not modelled, and drawn as placeholders such as 'd-1'."
    )


def test_no_relation_comes_with_a_hint(run):
    Path("small.csv").write_text("a,b,total\n1,2,3\n4,4,8\n")
    code, out, err = run("relations", "small.csv")
    assert (code, out) == (0, "no relations found\n")
    assert err.startswith("skvae: hint: a relation that chance could explain is not listed")
    assert err.count("\n") == 1


def test_the_separator_is_guessed_outside_quotes(run):
    Path("quoted.csv").write_text('"a,b,c\nd";e\n1;2\n3;4\n')
    assert list(read_table("quoted.csv").frame.columns) == ["a,b,c\nd", "e"]


def test_a_blank_line_is_a_missing_cell_of_the_only_column(run):
    Path("one.csv").write_text("a\n1\n\n2\n")
    assert read_table("one.csv").frame["a"].isna().tolist() == [False, True, False]


def test_reports_go_through_open_files(folder):
    ended = shell("skvae report data.csv data.csv -o /dev/fd/3 3> page.html", folder)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert (folder / "page.html").read_text().startswith("<!")


def test_tables_of_tabs(run):
    assert run("sample", "model.skvae", "-n", "3", "-o", "new.tsv") == (0, "", "")
    assert list(pd.read_csv("new.tsv", sep="\t").columns) == list(text_table().columns)


def test_a_model_keeps_categories_that_look_missing(run):
    countries = ["NA", "DE", "NA", "FR", "unknown"] * 20
    pd.DataFrame({"country": countries, "n": ["1", "NA", "3", "1", "-9"] * 20}).to_csv("countries.csv", index=False)
    options = ["--missing", "unknown", "--missing", "-9", "--max-iter", "1", "--hidden-layer-sizes", "4"]
    assert run("fit", "countries.csv", "-o", "countries.skvae", *options) == (0, "", "")
    filled = as_texts(run("impute", "countries.skvae", "countries.csv")[1])
    before = as_texts(Path("countries.csv").read_text())
    kept = before["country"] != "unknown"
    assert (filled["country"] == before["country"])[kept].all()
    assert set(filled["country"]) == {"NA", "DE", "FR"}
    assert filled["n"].str.fullmatch("[123]").all()
    drawn = as_texts(run("sample", "countries.skvae", "-n", "50", "--given", "country=NA")[1])
    assert set(drawn["country"]) == {"NA"}
    assert drawn["n"].str.fullmatch(r"\d+|-9").all()


@pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
@pytest.mark.parametrize(("delimiter", "line_end"), [(",", "\n"), (";", "\r\n"), ("\t", "\n")])
def test_files_come_back_byte_for_byte(tmp_path, ending, delimiter, line_end):
    content = text_table().to_csv(index=False, sep=delimiter, lineterminator=line_end).encode()
    path, other = str(tmp_path / f"a{ending}"), str(tmp_path / f"b{ending}")
    zipped = ending.endswith(".gz")
    Path(path).write_bytes(gzip.compress(content) if zipped else content)
    write_table(*read_table(path)[:1], other, read_table(path)[1])
    written = Path(other).read_bytes()
    assert (gzip.decompress(written) if zipped else written) == content
