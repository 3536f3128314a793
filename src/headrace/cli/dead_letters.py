"""Show, retry or drop dead letters: events and rows that could not be processed, kept with their bytes.

retry puts the event back into the hub (its own partition) or the queue that it came from, once however often
it is interrupted, and removes the letter. Every job that reads the hub sees the event again. A row that an
output's target refused goes to that output again, and nowhere else, the next time its job runs or at once.

A line of a file has no place to be put back to, nor has a row that a job made of several events in a window
or join: --to HUB publishes them there, or the letter is dropped.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import itertools
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from headrace.cli.letter_places import LetterPlaces
from headrace.cli.numbers import at_least
from headrace.cli.options import add_json, add_project, plain
from headrace.cli.retry_letters import Retry
from headrace.cli.show import (
    body_text,
    count_text,
    note,
    print_json,
    print_lines,
    shortened,
    time_text,
)
from headrace.clock import SystemClock
from headrace.errors import UserError
from headrace.local.dead_letters import DEAD_OUTPUT, DEAD_ROW, DeadLetter, DeadLetters
from headrace.local.namespace import Namespace
from headrace.project import Project

#: Letters that `show` prints unless told otherwise.
SHOWN: Final = 20

#: All that letters come from.
_KINDS: Final = ("hub", "queue", "file", DEAD_ROW, DEAD_OUTPUT)

_BODY_CHARS: Final = 200
_REASON_CHARS: Final = 500


def add(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser(
        "dead-letters",
        help="show, retry or drop events that could not be processed",
        description=plain(__doc__),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", nargs="?", choices=["show", "retry", "drop"], default="show")
    parser.add_argument("--id", type=at_least(1), nargs="+", metavar="N", help="only these letters")
    parser.add_argument("--job", help="only letters of this job")
    parser.add_argument("--source", metavar="NAME", help="only letters from this hub, queue, file or output")
    parser.add_argument("--kind", choices=_KINDS, help="only letters from such a source")
    parser.add_argument("--tenant", metavar="NAME", help="only letters of this tenant; tell of no other's")
    parser.add_argument("--reason", metavar="TEXT", help="only letters whose reason has this text")
    parser.add_argument("--since", type=_time, metavar="TIME", help="only letters set aside from then on")
    parser.add_argument("--until", type=_time, metavar="TIME", help="only letters set aside before then")
    parser.add_argument("--all", action="store_true", help="with retry or drop: every letter")
    parser.add_argument(
        "--limit", type=at_least(0), metavar="N", help=f"at most so many letters (show: {SHOWN}; else all)"
    )
    parser.add_argument("--count", action="store_true", help="only tell how many letters that would be")
    parser.add_argument("--to", metavar="HUB", help="with retry: publish to this hub instead")
    parser.add_argument("--raw", action="store_true", help="with show: write the bodies' bytes as they are")
    add_project(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def _time(text: str) -> int:
    """Return an ISO 8601 time, UTC unless it has a zone, in microseconds since 1970 UTC."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no time such as 2026-03-01T12:00:00Z") from None
    time = time if time.tzinfo else time.replace(tzinfo=UTC)
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // datetime.resolution


def run(arguments: argparse.Namespace) -> int:
    """Do what the action says to the letters that the filters leave."""
    project = Project.load(Path(arguments.project))
    filters = (arguments.id, arguments.job, arguments.source, arguments.reason, arguments.kind)
    filtered = any((*filters, arguments.tenant is not None, arguments.since, arguments.until))
    if arguments.action != "show" and filtered == arguments.all:
        choice = "--all or a filter, not both" if filtered else "--all, or a filter such as --id N or --job"
        raise UserError(f"say which letters to {arguments.action}: {choice}")
    if arguments.to is not None and arguments.action != "retry":
        raise UserError("--to says where retry publishes; show writes bodies out with --raw")
    if not project.data.exists():
        note("there are no dead letters: nothing has run yet")
        return 0
    looking = arguments.action == "show" or arguments.count
    with Namespace.open(project.data, create=False, looking=looking) as namespace:
        letters = DeadLetters(namespace)
        chosen = _chosen(letters, arguments)
        match arguments.action:
            case _ if arguments.count:
                _count(chosen, as_json=arguments.json)
            case "show":
                _show(chosen, letters, LetterPlaces(project, namespace), arguments)
            case "retry":
                retry = Retry(project, namespace, letters, arguments.to)
                _tell("retried", retry.run(chosen), as_json=arguments.json)
            case _:
                _tell("dropped", _drop(namespace, letters, chosen), as_json=arguments.json)
    return 0


def _tell(done: str, count: int, *, as_json: bool) -> None:
    if as_json:
        print_json({done: count})
    else:
        print_lines([f"{done} {count_text(count, 'dead letter')}"])


def _count(chosen: Iterator[list[DeadLetter]], *, as_json: bool) -> None:
    """Tell how many letters are chosen, and of what."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for page in chosen:
        counts.update((letter.job, letter.source_kind, letter.source) for letter in page)
    total = counts.total()
    if as_json:
        named = ("job", "source_kind", "source", "letters")
        rows = [dict(zip(named, (*of, number), strict=True)) for of, number in sorted(counts.items())]
        print_json({"total": total, "counts": rows})
    else:
        print_lines([count_text(total, "dead letter")])
        for (job, kind, source), number in sorted(counts.items()):
            print_lines([f"  {number:,}  {f'job {job}, ' if job else ''}{kind} '{source}'"])


# --- choosing ---------------------------------------------------------------------------------------------


def _chosen(letters: DeadLetters, arguments: argparse.Namespace) -> Iterator[list[DeadLetter]]:
    """Yield the letters that the filters leave, in pages, oldest first."""
    if arguments.id:
        found = [_existing(letters, number, arguments.tenant) for number in sorted(set(arguments.id))]
        pages: Iterable[list[DeadLetter]] = [found]
    else:
        pages = _pages(letters, arguments)
    left = arguments.limit if arguments.action != "show" or arguments.count else None
    # A retried event may die again at once: its new letter is not for this call, or it would never end.
    began_us = SystemClock().now_us()
    for page in pages:
        kept = [letter for letter in page if letter.dead_us <= began_us and _matches(letter, arguments)]
        if left is not None:
            kept = kept[:left]
            left -= len(kept)
        if kept:
            yield kept
        if left == 0:
            return


def _pages(letters: DeadLetters, arguments: argparse.Namespace) -> Iterator[list[DeadLetter]]:
    after = 0
    while page := letters.find(
        job=arguments.job,
        source=arguments.source,
        kind=arguments.kind,
        tenant=arguments.tenant,
        since_us=arguments.since,
        until_us=arguments.until,
        after=after,
    ):
        yield page
        after = page[-1].id


def _existing(letters: DeadLetters, number: int, tenant: str | None) -> DeadLetter:
    letter = letters.get(number)
    if letter is None or tenant not in {None, letter.tenant}:  # that there is one is not told to others
        raise UserError(f"there is no dead letter {number}; `headrace dead-letters` shows those there are")
    return letter


def _matches(letter: DeadLetter, arguments: argparse.Namespace) -> bool:
    text = f"{letter.reason} {letter.detail}".casefold()
    return (
        arguments.job in {None, letter.job}
        and arguments.source in {None, letter.source}
        and arguments.kind in {None, letter.source_kind}
        and arguments.tenant in {None, letter.tenant}
        and (arguments.since is None or letter.dead_us >= arguments.since)
        and (arguments.until is None or letter.dead_us < arguments.until)
        and (arguments.reason or "").casefold() in text
    )


# --- showing ----------------------------------------------------------------------------------------------


def _show(
    chosen: Iterator[list[DeadLetter]],
    letters: DeadLetters,
    places: LetterPlaces,
    arguments: argparse.Namespace,
) -> None:
    found = itertools.chain.from_iterable(chosen)
    limit = SHOWN if arguments.limit is None else arguments.limit
    shown = list(itertools.islice(found, limit))
    if arguments.raw:
        sys.stdout.buffer.write(b"\n".join(letter.body for letter in shown))
        sys.stdout.buffer.flush()
    elif arguments.json:
        total = letters.count(tenant=arguments.tenant)
        print_json({"dead_letters": [_document(letter) for letter in shown], "total": total})
    else:
        for letter in shown:
            print_lines(_lines(letter, places))
    if next(found, None) is not None:
        note(f"there are more; --limit N shows more than {limit}, --job, --reason and others fewer")
    elif not shown and not arguments.json:
        total = letters.count(tenant=arguments.tenant)
        note("there are no dead letters" if not total else f"none of {total:,} dead letters is like that")


def _lines(letter: DeadLetter, places: LetterPlaces) -> list[str]:
    came = f"{letter.source_kind} '{letter.source}'"
    came += places.text(letter)
    whose = f"job {letter.job}, " if letter.job else ""
    whose += f"tenant {letter.tenant}, " if letter.tenant else ""
    return [
        f"{letter.id}  {whose}{came}; {count_text(letter.attempts, 'attempt')}, {time_text(letter.dead_us)}",
        f"    {shortened(': '.join(filter(None, (letter.reason, letter.detail))), _REASON_CHARS)}",
        f"    {count_text(len(letter.body), 'byte')}: {body_text(letter.body, _BODY_CHARS)}",
    ]


def _document(letter: DeadLetter) -> dict[str, Any]:
    document = letter._asdict()
    body = document.pop("body")
    del document["cost"]
    for name in ("first_us", "dead_us"):
        document[name.removesuffix("_us")] = time_text(document.pop(name))
    document["body_base64"] = base64.b64encode(body).decode()
    with contextlib.suppress(UnicodeDecodeError):
        document["body"] = body.decode()
    return document


# --- retrying and dropping --------------------------------------------------------------------------------


def _drop(namespace: Namespace, letters: DeadLetters, chosen: Iterator[list[DeadLetter]]) -> int:
    dropped = 0
    for page in chosen:
        with namespace.transaction() as tx:
            dropped += letters.delete(tx, [letter.id for letter in page])
    return dropped
