"""The command line, `skvae` or `python -m skvae`. It parses arguments; `skvae.commands`, imported later, runs commands."""

import argparse
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence

from skvae._version import __version__
from skvae.targets import PARQUET_ENDINGS, check_parquet, check_writable, is_parquet, is_replaced
from skvae.terminal import status, tell

TABLES = "CSV, CSV.gz or Parquet, by the file extension"
TABLE_ENDINGS = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz", *PARQUET_ENDINGS)
PAGE_ENDINGS = (".html", ".htm")
SOURCE, TARGET = f"{TABLES}; - reads CSV from stdin", f"{TABLES}; - writes CSV to stdout, the default"
MODEL = "a file that skvae fit or skvae.save wrote; - reads it from stdin"
Subparsers = argparse._SubParsersAction  # argparse has no public name for it
INPUTS = ("model", "data", "real", "synthetic", "holdout")  # arguments that name a file to read, or - for stdin
DOING = {  # what a command says while it runs
    "fit": "reading the table",
    "sample": "sampling",
    "transform": "reducing rows",
    "impute": "filling in missing values",
    "score": "scoring rows",
    "report": "comparing rows",
    "info": "reading the model",
    "relations": "looking for relations",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command. Returns 0, 1 after an error, or 130 after Ctrl-C; argparse exits with 2. An error is a line on stderr.

    argv : the arguments after the program name; None for those of this process.
    """
    arguments = parser().parse_args(argv)
    if not arguments.quiet:
        status.show(f"{DOING[arguments.command]} ...")
    try:
        _run(arguments)
        return 0
    except BrokenPipeError:  # the reader of the pipe has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python must not write the rest at exit
        return 0
    except KeyboardInterrupt:
        unwritten = arguments.output not in (None, "-") and is_replaced(arguments.output)
        tell("interrupted; nothing was written" if unwritten else "interrupted")
        return 130
    except OSError as error:
        named = f"{error.filename}: " if error.filename else ""
        tell(f"{named}{error.strerror or error}")
    except (ValueError, TypeError, ImportError, EOFError) as error:
        tell(str(error))
    finally:
        status.erase()
    return 1


def _run(arguments: argparse.Namespace) -> None:
    _check_files([getattr(arguments, name, None) or "" for name in INPUTS], arguments.output or "")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        warnings.filterwarnings("ignore", "Training interrupted")  # of which no model is kept here
        warnings.showwarning = _tell_warning
        from skvae import commands

        getattr(commands, arguments.command)(arguments)


def _check_files(inputs: list[str], target: str) -> None:
    """Check input and output files before anything is computed."""
    if inputs.count("-") > 1:
        raise ValueError("stdin can be read only once: '-' must not name two inputs. Name a file instead of one of them.")
    if any(map(is_parquet, (*inputs, target))):
        check_parquet()
    if target not in ("", "-"):
        check_writable(target)
        if os.path.isfile(target) and any(os.path.samefile(one, target) for one in inputs if os.path.isfile(one)):
            raise ValueError(f"{target} is an input: -o would replace it. Name another file.")


def _tell_warning(message, category, filename, lineno, file=None, line=None):
    tell(f"warning: {message}")


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message):
        self.exit(2, f"skvae: {message.rstrip('.')}. See {self.prog} --help.\n")


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    top = Parser(
        prog="skvae",
        description="Fit a variational autoencoder to a table, then sample, impute, score or reduce rows with it.",
        epilog="example: skvae fit data.csv -o model.skvae && skvae sample model.skvae -n 1000 -o new.csv",
    )
    top.add_argument("--version", action="version", version=f"skvae {__version__}")
    top.set_defaults(quiet=False, output=None)
    commands = top.add_subparsers(dest="command", required=True, metavar="command")
    _add_fit(commands)
    _add_sample(commands)
    _add_of_rows(commands)
    _add_report(commands)
    _add_info(commands)
    return top


def _add(commands: Subparsers, name: str, does: str, example: str) -> argparse.ArgumentParser:
    return commands.add_parser(name, help=does, description=f"{does[0].upper()}{does[1:]}.", epilog=f"example: {example}")


def _add_output(parser: argparse.ArgumentParser, what: str, type: Callable = str, **options) -> None:
    parser.add_argument("-o", "--output", type=type, metavar="FILE", help=what, **options)


def _add_seed(parser: argparse.ArgumentParser, what: str, default: int | None = None) -> None:
    parser.add_argument("--seed", type=_whole(0, 2**32 - 1), default=default, metavar="N", help=what)


def _whole(least: int, most: float = float("inf")) -> Callable[[str], int]:
    """What reads an int in a range."""

    def whole(text: str) -> int:
        if not re.fullmatch("[+-]?[0-9]+", text) or not least <= int(text) <= most:
            allowed = f"[{least}, {most}" + (")" if most == float("inf") else "]")
            raise argparse.ArgumentTypeError(f"must be an int in the range {allowed}. Got {text!r} instead")
        return int(text)

    return whole


def _ending(*endings: str) -> Callable[[str], str]:
    """What takes the path of a file of some kinds, by the extension, or of a pipe or the like, by any name."""

    def path(text: str) -> str:
        plain = "." not in os.path.basename(text)
        if not (plain or text.lower().endswith(endings)) and is_replaced(text):
            raise argparse.ArgumentTypeError(f"must end in one of {', '.join(endings)}. Got {text!r} instead")
        return text

    return path


def _add_missing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--missing",
        action="append",
        default=[],
        metavar="TEXT",
        help="a further text of missing cells in CSV; may be repeated. Empty cells are missing; NA, NaN, null and the like "
        "are missing in columns of numbers, booleans or dates, and categories in columns of text. A model remembers TEXT",
    )


def _add_fit(commands: Subparsers) -> None:
    example = "skvae fit data.csv -o model.skvae --max-iter 50 --likelihood age=poisson"
    fit = _add(commands, "fit", "fit a model to a table", example)
    fit.add_argument("data", help=f"the table: {SOURCE}")
    _add_output(fit, "where to write the model; - writes it to stdout", required=True)
    option = fit.add_argument
    option("--latent-dim", type=_whole(1), metavar="N", help="number of latent variables (default: 2)")
    option("--hidden-layer-sizes", type=_sizes, metavar="N,N", help="widths of the encoder's layers (default: 256,256)")
    option("--generator", metavar="NAME", help='the model to sample from: "auto", "autoregressive" or "latent"')
    option("--prior", metavar="NAME", help='distribution of the latents: "auto", "normal", "mixture", "flow" or "vamp"')
    option("--beta", type=float, metavar="X", help="weight of the KL divergence (default: 1)")
    option("--max-iter", type=_whole(1), metavar="N", help="maximum number of epochs")
    option(
        "--likelihood", action="append", metavar="[COLUMN=]NAME", help="likelihood of a column or of all; may be repeated"
    )
    option(
        "--category", action="append", metavar="COLUMN", help="a column of numbers to treat as categories; may be repeated"
    )
    option(
        "--relations",
        action="append",
        metavar="TEXT",
        help='a relation to add ("total = a + b") or to remove ("not a -> b"), or "none" for no relations; may be repeated',
    )
    _add_missing(fit)
    option("--device", metavar="NAME", help='where to compute: "auto", "cpu" or "cuda"')
    _add_seed(fit, "random seed, which makes the model and its samples reproducible")
    option("-q", "--quiet", action="store_true", help="show no progress")


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(map(_whole(1), text.split(",")))


def _add_sample(commands: Subparsers) -> None:
    example = "skvae sample model.skvae -n 1000 --given sex=Female --given age=40 -o new.csv"
    sample = _add(commands, "sample", "sample new rows", example)
    sample.add_argument("model", help=MODEL)
    sample.add_argument("-n", "--rows", type=_whole(1), default=1000, metavar="N", help="number of rows (default: 1000)")
    sample.add_argument(
        "--given",
        action="append",
        default=[],
        metavar="COLUMN=VALUE",
        help="sample rows with this value only; may be repeated",
    )
    _add_seed(sample, "random seed (default: one stored in the model, so that every run writes the same rows)")
    _add_output(sample, f"where to write the rows: {TARGET}", _ending(*TABLE_ENDINGS), default="-")


def _add_of_rows(commands: Subparsers) -> None:
    """Commands that read a model and a table, and write a table."""
    transform = _add(
        commands, "transform", "reduce rows to latent variables", "skvae transform model.skvae data.csv -o latents.csv"
    )
    impute = _add(commands, "impute", "fill in missing values", "skvae impute model.skvae data.csv -o full.csv --draws 5")
    score = _add(commands, "score", "score rows: unusual rows score low", "skvae score model.skvae data.csv -o scores.csv")
    score.description = (
        "Write the log-likelihood of each row in nats, and the cells that best explain a low score: those of the least "
        "p-value, the probability that a cell of this column would be at least as unlikely, given the rest of the row."
    )
    for one in (transform, impute, score):
        one.add_argument("model", help=MODEL)
        one.add_argument("data", help=f"the rows: {SOURCE}")
        _add_output(one, f"where to write the result: {TARGET}", _ending(*TABLE_ENDINGS), default="-")
        _add_missing(one)
    impute.add_argument("--draws", type=_whole(1), metavar="M", help="write M completed tables, numbered in the column draw")
    _add_seed(impute, "random seed of --draws")
    score.add_argument(
        "--cells", type=_whole(0), default=3, metavar="N", help="number of cells that explain a row (default: 3)"
    )


def _add_report(commands: Subparsers) -> None:
    example = "skvae report real.csv synthetic.csv --holdout h.csv -o report.html"
    report = _add(commands, "report", "compare synthetic rows with real ones", example)
    report.add_argument("real", help=f"the rows that the model was fitted to: {SOURCE}")
    report.add_argument("synthetic", help="the rows to evaluate")
    report.add_argument("--holdout", metavar="FILE", help="real rows that the model has not seen")
    report.add_argument("--target", metavar="COLUMN", help="a column to predict from the others")
    _add_missing(report)
    _add_seed(report, "random seed of folds and classifiers (default: 0)", default=0)
    _add_output(report, "an HTML page to write (default: only print the summary)", _ending(*PAGE_ENDINGS))


def _add_info(commands: Subparsers) -> None:
    info = _add(commands, "info", "describe a model", "skvae info model.skvae")
    info.add_argument("model", help=MODEL)
    relations = _add(commands, "relations", "find relations between columns", "skvae relations data.csv")
    relations.add_argument("data", help=f"the table: {SOURCE}")
    _add_missing(relations)
    _add_output(
        relations, f"where to write them as a table: {TABLES} (default: print them as text)", _ending(*TABLE_ENDINGS)
    )
