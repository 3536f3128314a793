"""Show, retry or drop dead letters: events and messages that could not be processed, kept with their bytes.

retry puts the event back into the hub (its own partition) or the queue that it came from, once however often
it is interrupted, and removes the letter. Every job that reads the hub sees the event again.

A row that a job made of several events, in a window or join, and a line of a file can only be dropped.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import itertools
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from headrace.cli.numbers import at_least
from headrace.cli.options import add_json, add_project, plain
from headrace.cli.show import (
    body_text,
    count_text,
    note,
    print_json,
    print_lines,
    shortened,
    time_text,
    waiting,
)
from headrace.clock import SystemClock
from headrace.errors import UserError
from headrace.limits import MAX_INPUT_FILE_BYTES
from headrace.local.dead_letters import DEAD_ROW, DeadLetter, DeadLetters
from headrace.local.hub import Hub
from headrace.local.namespace import Namespace
from headrace.local.queue import Queue
from headrace.project import Project

#: Letters that `show` prints unless told otherwise.
SHOWN: Final = 20

#: Where letters came from that can be put back.
_PUT_BACK: Final = frozenset({"hub", "queue"})

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
    parser.add_argument("--source", metavar="NAME", help="only letters from this hub or queue")
    parser.add_argument("--reason", metavar="TEXT", help="only letters whose reason has this text")
    parser.add_argument("--all", action="store_true", help="with retry or drop: every letter")
    parser.add_argument(
        "--limit", type=at_least(0), default=SHOWN, metavar="N", help=f"letters to show ({SHOWN})"
    )
    parser.add_argument("--raw", action="store_true", help="with show: write the bodies' bytes as they are")
    add_project(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Do what the action says to the letters that the filters leave."""
    project = Project.load(Path(arguments.project))
    filtered = any((arguments.id, arguments.job, arguments.source, arguments.reason))
    if arguments.action != "show" and filtered == arguments.all:
        choice = "--all or a filter, not both" if filtered else "--id N, --job, --source, --reason or --all"
        raise UserError(f"say which letters to {arguments.action}: {choice}")
    if not project.data.exists():
        note("there are no dead letters: nothing has run yet")
        return 0
    looking = arguments.action == "show"
    with Namespace.open(project.data, create=False, looking=looking) as namespace:
        letters = DeadLetters(namespace)
        chosen = _chosen(letters, arguments)
        match arguments.action:
            case "show":
                _show(chosen, letters, arguments)
            case "retry":
                _tell("retried", _retry(namespace, letters, chosen), as_json=arguments.json)
            case _:
                _tell("dropped", _drop(namespace, letters, chosen), as_json=arguments.json)
    return 0


def _tell(done: str, count: int, *, as_json: bool) -> None:
    if as_json:
        print_json({done: count})
    else:
        print_lines([f"{done} {count_text(count, 'dead letter')}"])


# --- choosing ---------------------------------------------------------------------------------------------


def _chosen(letters: DeadLetters, arguments: argparse.Namespace) -> Iterator[list[DeadLetter]]:
    """Yield the letters that the filters leave, in pages, oldest first."""
    if arguments.id:
        found = [_existing(letters, number) for number in sorted(set(arguments.id))]
        pages: Iterable[list[DeadLetter]] = [found]
    else:
        pages = _pages(letters)
    # A retried event may die again at once: its new letter is not for this call, or it would never end.
    began_us = SystemClock().now_us()
    for page in pages:
        if kept := [letter for letter in page if letter.dead_us <= began_us and _matches(letter, arguments)]:
            yield kept


def _pages(letters: DeadLetters) -> Iterator[list[DeadLetter]]:
    after = 0
    while page := letters.find(after=after):
        yield page
        after = page[-1].id


def _existing(letters: DeadLetters, number: int) -> DeadLetter:
    letter = letters.get(number)
    if letter is None:
        raise UserError(f"there is no dead letter {number}; `headrace dead-letters` shows those there are")
    return letter


def _matches(letter: DeadLetter, arguments: argparse.Namespace) -> bool:
    text = f"{letter.reason} {letter.detail}".casefold()
    return (
        arguments.job in {None, letter.job}
        and arguments.source in {None, letter.source}
        and (arguments.reason or "").casefold() in text
    )


# --- showing ----------------------------------------------------------------------------------------------


def _show(chosen: Iterator[list[DeadLetter]], letters: DeadLetters, arguments: argparse.Namespace) -> None:
    found = itertools.chain.from_iterable(chosen)
    shown = list(itertools.islice(found, arguments.limit))
    if arguments.raw:
        sys.stdout.buffer.write(b"\n".join(letter.body for letter in shown))
        sys.stdout.buffer.flush()
    elif arguments.json:
        print_json({"dead_letters": [_document(letter) for letter in shown], "total": letters.count()})
    else:
        for letter in shown:
            print_lines(_lines(letter))
    if next(found, None) is not None:
        note(f"there are more; --limit N shows more than {arguments.limit}, --job, --reason and others fewer")
    elif not shown and not arguments.json:
        total = letters.count()
        note("there are no dead letters" if not total else f"none of {total:,} dead letters is like that")


def _lines(letter: DeadLetter) -> list[str]:
    came = f"{letter.source_kind} '{letter.source}'"
    came += _place(letter)
    job = f"job {letter.job}, " if letter.job else ""
    return [
        f"{letter.id}  {job}{came}; {count_text(letter.attempts, 'attempt')}, {time_text(letter.dead_us)}",
        f"    {shortened(': '.join(filter(None, (letter.reason, letter.detail))), _REASON_CHARS)}",
        f"    {count_text(len(letter.body), 'byte')}: {body_text(letter.body, _BODY_CHARS)}",
    ]


def _place(letter: DeadLetter) -> str:
    match letter.source_kind:
        case "queue":
            return f", message {letter.position}"
        case "file":
            number, byte = divmod(letter.position, MAX_INPUT_FILE_BYTES)
            return f", file {number + 1}, byte {byte}"
        case kind if kind == DEAD_ROW:
            return f", epoch {letter.partition}"
    return f", partition {letter.partition}, offset {letter.position}"


def _document(letter: DeadLetter) -> dict[str, Any]:
    document = letter._asdict()
    body = document.pop("body")
    for name in ("first_us", "dead_us"):
        document[name.removesuffix("_us")] = time_text(document.pop(name))
    document["body_base64"] = base64.b64encode(body).decode()
    with contextlib.suppress(UnicodeDecodeError):
        document["body"] = body.decode()
    return document


# --- retrying and dropping --------------------------------------------------------------------------------


def _retry(namespace: Namespace, letters: DeadLetters, chosen: Iterator[list[DeadLetter]]) -> int:
    """Put events back and remove their letters.

    A hub knows an event that it was given before by the letter's id and attempts, so it comes first and the
    removal after it: a death in between doubles nothing. A queue is in the letter's own transaction.
    """
    retried = 0
    left: Counter[str] = Counter()
    with contextlib.ExitStack() as stack:
        tell = stack.enter_context(waiting())
        hubs: dict[str, Hub] = {}
        for letters_of_page in chosen:
            page = [letter for letter in letters_of_page if letter.source_kind in _PUT_BACK]
            left.update(letter.source_kind for letter in letters_of_page)
            for number, letter in enumerate(page):
                tell(f"{count_text(retried + number, 'dead letter')} retried")
                if letter.source_kind == "hub":
                    if letter.source not in hubs:
                        hub = Hub.open(namespace.hubs_folder, letter.source)
                        hubs[letter.source] = stack.enter_context(hub)
                    _publish(hubs[letter.source], letter)
            retried += _finish(namespace, letters, page)
    if rows := left[DEAD_ROW]:
        what = "a row that a job made" if rows == 1 else f"{rows:,} rows that jobs made"
        note(f"{what} of several events cannot be retried, only dropped: there is no event to put back")
    if lines := left["file"]:
        what = "a line of a file" if lines == 1 else f"{lines:,} lines of files"
        note(f"{what} cannot be put back: --raw writes them out, for a new file that the job reads")
    return retried


def _publish(hub: Hub, letter: DeadLetter) -> None:
    # With its time, since ids begin anew where a namespace was made anew or put back from a copy.
    producer = f"dead-letter:{letter.id}:{letter.first_us}"
    hub.publish_bodies([letter.body], partition=letter.partition, producer=producer, sequence=letter.attempts)


def _finish(namespace: Namespace, letters: DeadLetters, page: Sequence[DeadLetter]) -> int:
    """Remove letters, sending the messages among them in the same transaction; return how many there were."""
    finished = 0
    with namespace.transaction() as tx:
        for letter in page:
            removed = letters.delete(tx, [letter.id])  # 0: another process has retried it meanwhile
            if removed and letter.source_kind == "queue":
                Queue(namespace, letter.source).send(tx, [letter.body])
            finished += removed
    return finished


def _drop(namespace: Namespace, letters: DeadLetters, chosen: Iterator[list[DeadLetter]]) -> int:
    dropped = 0
    for page in chosen:
        with namespace.transaction() as tx:
            dropped += letters.delete(tx, [letter.id for letter in page])
    return dropped
