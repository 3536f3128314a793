"""``headrace model``: train a classifier on labelled documents, judge it, and score a file with it."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import importlib.metadata
from pathlib import Path
from typing import Any, Final

import msgspec
import polars as pl
from rich.console import Console
from rich.table import Table

from headrace.cli.options import add_json, plain
from headrace.errors import DataError, UserError
from headrace.models.documents import checked_writer, column, read_documents, write_documents
from headrace.models.evaluate import HOLDOUT_RULE, Evaluation, evaluate, held_out, share_held_out
from headrace.models.linear import LinearClassifier, LinearModel, ranked
from headrace.models.storage import SUFFIX, load_model, save_model
from headrace.models.training import train
from headrace.names import checked_name

#: The share of labelled documents that judges a model instead of training it.
DEFAULT_HOLDOUT: Final = 0.2


def add(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser("model", help="train, evaluate and use models", description=plain(__doc__))
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    training = actions.add_parser("train", help="train a model on labelled documents")
    training.add_argument("file", metavar="FILE", type=Path, help="Parquet, CSV or JSON lines")
    _add_columns(training, required=True)
    training.add_argument(
        "-o", "--output", metavar="MODEL", type=Path, required=True, help=f"a {SUFFIX} file"
    )
    training.add_argument("--name", help="the model's name (default: that of its file)")
    training.add_argument(
        "--holdout",
        type=float,
        metavar="SHARE",
        help="share of the documents, chosen by id, kept from training to judge the model "
        f"(default: {DEFAULT_HOLDOUT} with --id, else 0)",
    )
    add_json(training)
    training.set_defaults(run=_train)

    judging = actions.add_parser("evaluate", help="judge a model on documents that it was not trained on")
    judging.add_argument("model", metavar="MODEL", help=f"a shipped model's name or a {SUFFIX} file")
    judging.add_argument("file", metavar="FILE", type=Path, help="Parquet, CSV or JSON lines")
    _add_columns(judging, required=False)
    judging.add_argument("--all", action="store_true", help="judge on every row: none was trained on")
    add_json(judging)
    judging.set_defaults(run=_evaluate)

    scoring = actions.add_parser("score", help="add a model's guesses to the rows of a file")
    scoring.add_argument("model", metavar="MODEL", help=f"a shipped model's name or a {SUFFIX} file")
    scoring.add_argument("file", metavar="FILE", type=Path, help="Parquet, CSV or JSON lines")
    scoring.add_argument("--text", metavar="COLUMN", help="the documents (default: as the model was trained)")
    scoring.add_argument("-o", "--output", metavar="OUT", type=Path, required=True, help="where the rows go")
    add_json(scoring)
    scoring.set_defaults(run=_score)


def _add_columns(parser: argparse.ArgumentParser, *, required: bool) -> None:
    default = "" if required else " (default: as the model was trained)"
    parser.add_argument("--text", metavar="COLUMN", required=required, help=f"the documents{default}")
    parser.add_argument("--label", metavar="COLUMN", required=required, help=f"their classes{default}")
    parser.add_argument("--id", metavar="COLUMN", help=f"what tells documents apart{default}")


def _train(arguments: argparse.Namespace) -> int:
    if arguments.holdout is None:
        arguments.holdout = DEFAULT_HOLDOUT if arguments.id else 0.0
    share: float = arguments.holdout
    if not 0 <= share < 1:
        raise UserError(f"--holdout {share:g} must be 0 or more and less than 1")
    if share and not arguments.id:
        raise UserError("--holdout chooses by id: name the column with --id")
    output: Path = arguments.output
    if output.suffix != SUFFIX:
        raise UserError(f"the file of a model ends in {SUFFIX}: try -o {output.with_suffix(SUFFIX)}")
    name = checked_name(arguments.name or output.stem, "model")

    columns = {key: getattr(arguments, key) for key in ("text", "label", "id") if getattr(arguments, key)}
    rows = _labelled(arguments.file, columns)
    judges = held_out(rows["id"], share) if share else pl.repeat(value=False, n=rows.height, eager=True)
    taught = rows.filter(~judges)
    if taught.is_empty():
        raise DataError(f"{arguments.file} has no row left to train on")
    model = train(name, taught["text"], taught["label"])
    result = _judged(LinearClassifier(model), rows.filter(judges)) if judges.any() else None
    model = dataclasses.replace(model, metadata=_provenance(arguments, columns, taught.height, result))
    size_bytes = save_model(model, output)

    if arguments.json:
        _print_json(
            {"model": str(output), "size_bytes": size_bytes, "words": len(model.words), **model.metadata}
        )
        return 0
    print(
        f"{output}: {len(model.classes)} classes, {len(model.words):,} words, {size_bytes:,} bytes, "
        f"trained on {taught.height:,} documents"
    )
    if result is not None:
        _print_evaluation(result, f"judged on the other {result.documents:,}, held out by id")
    return 0


def _evaluate(arguments: argparse.Namespace) -> int:
    classifier = load_model(arguments.model)
    trained_as = _trained_as(classifier.model)
    names = {key: getattr(arguments, key) or trained_as.get(key) for key in ("text", "label", "id")}
    columns = {key: name for key, name in names.items() if name}
    for key in ("text", "label"):
        if key not in columns:
            raise UserError(f"the model does not say which column holds the {key}: give --{key}")
    share = share_held_out(classifier.model)
    if arguments.all or not share:
        columns.pop("id", None)
    elif "id" not in columns:
        raise UserError(
            "the model's held-out documents are known by id: name the column with --id, or give --all"
        )
    rows = _labelled(arguments.file, columns)
    judges = rows.filter(held_out(rows["id"], share)) if "id" in columns else rows
    if judges.is_empty():
        raise DataError(f"{arguments.file} has no document to judge by; --all judges on every row")
    result = _judged(classifier, judges)
    if arguments.json:
        _print_json({"model": classifier.name, "held_out_only": "id" in columns, "evaluation": result})
        return 0
    which = f"the {share:.0%} held out by id" if "id" in columns else "every row"
    _print_evaluation(result, f"{classifier.name} judged on {result.documents:,} documents: {which}")
    return 0


def _score(arguments: argparse.Namespace) -> int:
    classifier = load_model(arguments.model)
    text = arguments.text or _trained_as(classifier.model).get("text")
    if not text:
        raise UserError("the model does not say which column holds the documents: give --text")
    checked_writer(arguments.output)
    frame = read_documents(arguments.file)
    guesses = _guesses(classifier, column(frame, text, arguments.file))
    clash = next((name for name in guesses.columns if name in frame.columns), None)
    if clash:
        raise UserError(f"{arguments.file} has a column {clash!r} already, which the guesses would be called")
    write_documents(frame.hstack(guesses), arguments.output)
    scored = frame.height - guesses["best"].null_count()
    if arguments.json:
        _print_json({"output": str(arguments.output), "rows": frame.height, "scored": scored})
    else:
        print(f"{arguments.output}: {frame.height:,} rows, {scored:,} of them with a document to score")
    return 0


def _labelled(path: Path, columns: dict[str, str]) -> pl.DataFrame:
    """Return the rows that have a text and a label, under the names text, label and, if asked for, id."""
    frame = read_documents(path)
    series = [column(frame, name, path).alias(key) for key, name in columns.items()]
    return pl.DataFrame(series).drop_nulls(["text", "label"])


def _guesses(classifier: LinearClassifier, documents: pl.Series) -> pl.DataFrame:
    """Return best, second and a score per class, NULL where there is no document."""
    probabilities = classifier.probabilities([text or "" for text in documents.to_list()])
    order = ranked(probabilities)
    names = pl.Series(classifier.model.classes, dtype=pl.String)
    frame = pl.DataFrame(
        [
            names.gather(order[:, 0]).alias("best"),
            names.gather(order[:, 1]).alias("second"),
            *(
                pl.Series(f"score_{name}", probabilities[:, number]).round(4)
                for number, name in enumerate(classifier.model.classes)
            ),
        ]
    )
    given = pl.lit(documents.is_not_null())
    return frame.select(pl.when(given).then(pl.col(name)).alias(name) for name in frame.columns)


def _judged(classifier: LinearClassifier, rows: pl.DataFrame) -> Evaluation:
    guesses = _guesses(classifier, rows["text"])
    return evaluate(rows["label"], guesses["best"], guesses["second"], classifier.model.classes)


def _provenance(
    arguments: argparse.Namespace, columns: dict[str, str], documents: int, result: Evaluation | None
) -> dict[str, object]:
    """Return what a model says of itself: enough to make it again, and to judge it fairly."""
    options = "".join(f" --{key} {name}" for key, name in columns.items())
    given_name = f" --name {arguments.name}" if arguments.name else ""
    command = (
        f"headrace model train {arguments.file.name}{options} --holdout {arguments.holdout:g}{given_name}"
        f" -o {arguments.output.name}"
    )
    return {
        "command": command,
        "columns": columns,
        "trained_on": {
            "file": arguments.file.name,
            "sha256": hashlib.sha256(arguments.file.read_bytes()).hexdigest(),
            "documents": documents,
        },
        "made_with": {name: importlib.metadata.version(name) for name in ("headrace", "scikit-learn")},
        "held_out": {
            "rule": HOLDOUT_RULE,
            "share": arguments.holdout,
            "documents": result.documents if result else 0,
            "accuracy": round(result.accuracy, 4) if result else None,
            "top2": round(result.top2, 4) if result else None,
        },
    }


def _trained_as(model: LinearModel) -> dict[str, str]:
    columns = model.metadata.get("columns")
    return columns if isinstance(columns, dict) else {}


def _print_json(document: object) -> None:
    print(msgspec.json.encode(document).decode())


def _print_evaluation(result: Evaluation, title: str) -> None:
    console = Console()
    console.print(f"{title}\nbest guess right {result.accuracy:.1%}, best or second {result.top2:.1%}")
    table = Table(title="true class down, best guess across", title_justify="left", box=None, pad_edge=False)
    table.add_column("class", no_wrap=True)
    for heading in ("documents", "best", "top 2", *result.confusion.classes):
        table.add_column(heading, justify="right", no_wrap=True)
    counts = dict(zip(result.confusion.classes, result.confusion.counts, strict=True))
    for row in result.by_class:
        shares = (f"{row.accuracy:.1%}", f"{row.top2:.1%}")
        table.add_row(row.name, f"{row.documents:,}", *shares, *(f"{count:,}" for count in counts[row.name]))
    console.print(table)
