"""The command line, `skvae` and `python -m skvae`: what is asked for. `skvae.commands` does it, imported only then."""

import argparse
import os
import sys
import warnings
from collections.abc import Sequence

from skvae._version import __version__

TABLES = "CSV, CSV.gz or Parquet, by its ending; - for CSV from or to a pipe"
Subparsers = argparse._SubParsersAction  # of argparse; it has no public name


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command. Returns 0, 1 after an error (one line on stderr), or 130 after Ctrl-C; argparse exits with 2.

    argv : what follows the name of the program; None for that of this process.
    """
    arguments = parser().parse_args(argv)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = _tell_warning
            from skvae import commands

            getattr(commands, arguments.command)(arguments)
        return 0
    except BrokenPipeError:  # who reads has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nor is what is left over written at the end
        return 0
    except KeyboardInterrupt:
        _tell("stopped; nothing was written")
        return 130
    except OSError as error:
        named = f"{error.filename}: " if error.filename else ""
        _tell(f"{named}{error.strerror or error}")
    except (ValueError, TypeError, ImportError, EOFError) as error:
        _tell(str(error))
    return 1


def _tell(message: str) -> None:
    print(f"skvae: {' '.join(message.split())}", file=sys.stderr)


def _tell_warning(message, category, filename, lineno, file=None, line=None):
    _tell(f"warning: {message}")


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    top = argparse.ArgumentParser(
        prog="skvae",
        description="Learn a table, and draw, complete, score and reduce rows: a variational autoencoder.",
        epilog="example: skvae fit data.csv -o model.skvae && skvae sample model.skvae -n 1000 -o new.csv",
    )
    top.add_argument("--version", action="version", version=f"skvae {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="command")
    _add_fit(commands)
    _add_sample(commands)
    _add_of_rows(commands)
    _add_report(commands)
    _add_info(commands)
    return top


def _add(commands: Subparsers, name: str, does: str, example: str) -> argparse.ArgumentParser:
    return commands.add_parser(name, help=does, description=f"{does[0].upper()}{does[1:]}.", epilog=f"example: {example}")


def _add_output(parser: argparse.ArgumentParser, what: str, default: str | None = "-") -> None:
    parser.add_argument("-o", "--output", default=default, required=default is None, metavar="FILE", help=what)


def _add_fit(commands: Subparsers) -> None:
    fit = _add(commands, "fit", "learn a table", "skvae fit data.csv -o model.skvae --max-iter 50 --likelihood age=poisson")
    fit.add_argument("data", help=f"the table: {TABLES}")
    _add_output(fit, "where to write the model", default=None)
    option = fit.add_argument
    option("--latent-dim", type=int, metavar="N", help="number of latent variables (default: 2)")
    option("--hidden-layer-sizes", type=_sizes, metavar="N,N", help="widths of the encoder's layers, such as 256,256")
    option("--generator", metavar="NAME", help='"auto", "autoregressive" or "latent": what rows are drawn from')
    option("--prior", metavar="NAME", help='"auto", "normal", "mixture", "flow" or "vamp": distribution of the latents')
    option("--beta", type=float, metavar="X", help="weight of the KL divergence (default: 1)")
    option("--max-iter", type=int, metavar="N", help="epochs at most")
    option("--likelihood", action="append", metavar="[COLUMN=]NAME", help="of a column, or of all; may be repeated")
    option("--category", action="append", metavar="COLUMN", help="a column of numbers that are categories; may be repeated")
    option(
        "--relations", action="append", metavar="TEXT", help='such as "total = a + b", "not a -> b", or "none"; repeatable'
    )
    option("--device", metavar="NAME", help='"auto", "cpu" or "cuda"')
    option("--seed", type=int, metavar="N", help="makes the model, and what it draws, reproducible")
    option("-q", "--quiet", action="store_true", help="no progress, also on a terminal")


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(int(size) for size in text.split(",") if size)


def _add_sample(commands: Subparsers) -> None:
    example = "skvae sample model.skvae -n 1000 --given sex=Female --given age=40 -o new.csv"
    sample = _add(commands, "sample", "draw new rows", example)
    sample.add_argument("model", help="a file of skvae fit or skvae.save")
    sample.add_argument("-n", "--rows", type=int, default=1000, metavar="N", help="how many rows (default: 1000)")
    sample.add_argument(
        "--given", action="append", default=[], metavar="COLUMN=VALUE", help="only rows with this value; may be repeated"
    )
    sample.add_argument(
        "--seed", type=int, metavar="N", help="the same rows each time; without it those of the model's seed"
    )
    _add_output(sample, f"where to write the rows: {TABLES} (default: -)")


def _add_of_rows(commands: Subparsers) -> None:
    """Commands that take a model and a table, and give a table."""
    transform = _add(commands, "transform", "reduce rows to latents", "skvae transform model.skvae data.csv -o latents.csv")
    impute = _add(commands, "impute", "fill in missing cells", "skvae impute model.skvae data.csv -o full.csv --draws 5")
    score = _add(commands, "score", "score rows, the odd ones low", "skvae score model.skvae data.csv -o scores.csv")
    score.description = (
        "The score of each row, its log-likelihood in nats, and the cells that explain it best: those furthest below the "
        "median of their column, with what score_cells says of them."
    )
    for one in (transform, impute, score):
        one.add_argument("model", help="a file of skvae fit or skvae.save")
        one.add_argument("data", help=f"the rows: {TABLES}")
        _add_output(one, f"where to write the result: {TABLES} (default: -)")
    impute.add_argument("--draws", type=int, metavar="M", help="M completed tables, one below the other, numbered by `draw`")
    impute.add_argument("--seed", type=int, metavar="N", help="of the draws")
    score.add_argument("--cells", type=int, default=3, metavar="N", help="how many cells explain a row (default: 3)")


def _add_report(commands: Subparsers) -> None:
    example = "skvae report real.csv synthetic.csv --holdout h.csv -o report.html"
    report = _add(commands, "report", "compare synthetic rows with real ones", example)
    report.add_argument("real", help=f"the rows that the model learned: {TABLES}")
    report.add_argument("synthetic", help="the rows to judge")
    report.add_argument("--holdout", metavar="FILE", help="real rows that nothing was fitted to")
    report.add_argument("--target", metavar="COLUMN", help="a column to predict from the others")
    report.add_argument("--seed", type=int, default=0, metavar="N", help="of folds and classifiers (default: 0)")
    report.add_argument(
        "-o", "--output", metavar="FILE", help="a page to write, .html; without it only the summary is printed"
    )


def _add_info(commands: Subparsers) -> None:
    info = _add(commands, "info", "tell what a model holds", "skvae info model.skvae")
    info.add_argument("model", help="a file of skvae fit or skvae.save")
    relations = _add(commands, "relations", "tell what holds between the columns of a table", "skvae relations data.csv")
    relations.add_argument("data", help=f"the table: {TABLES}")
    _add_output(relations, "where to write them, as a table (default: in words to stdout)", default="")
