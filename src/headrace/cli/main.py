"""The command `headrace`: finds the verb, runs it, and turns errors into a message and an exit code.

0 ok, 1 data or test failure, 2 the user's mistake, 3 something to retry. No traceback is ever shown.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import gc
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, TextIO

from headrace.errors import HeadraceError, Transient, did_you_mean, disk_error
from headrace.redaction import redacted

#: Each verb: the module that holds it and what it does.
VERBS: Final = {
    "demo": "see a whole system work: `headrace demo papers`, `headrace demo tags`",
    "new": "make a project: headrace.toml and a query",
    "check": "check a project's settings and queries without running them",
    "explain": "show what a query does: steps, windows, rules of time, state",
    "preview": "run a query on a sample, and show the rows of each step",
    "run": "run jobs of the project",
    "scale": "run a running job as more instances, or as fewer",
    "status": "show how jobs are: health, rates, lag",
    "top": "watch jobs live",
    "bottleneck": "show which stage limits a running job, and what one more instance brings",
    "stop": "ask running jobs to finish what they hold and end",
    "test": "run case files: queries with events and the rows that they must give",
    "send": "publish events to a hub or queue: files, standard input, feeds",
    "sample": "copy events of an input to a file",
    "peek": "show or export a table, a queue's depth or a hub's latest events",
    "replay": "run a job's query again over what its hubs and files have stored",
    "dead-letters": "show, retry or drop events that could not be processed",
    "tags": "sensor files and the histories of their tags",
    "experiment": "measure what the papers measured, on this machine",
    "model": "train, evaluate and use models",
    "web": "serve the HTTP publishing endpoint",
    "doctor": "check this machine: disk sync, clock, SQLite version",
}

INTERRUPTED: Final = 130

#: New objects after which garbage is looked for; loading the modules makes 130,000.
_GARBAGE: Final = 50_000

#: Met without the name of a file: by far the most is written to standard output.
_OF_WRITING: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


def command() -> int:
    """Run the command line of a process of its own, and spare it what Python does beside that.

    Threads of BLAS that wait for work turn round and round for a while: 0.13 s of a processor at each start,
    unless they are told to sleep at once. Looking for garbage among the modules that are loaded, and again at
    the end, takes as much.
    """
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
    gc.set_threshold(_GARBAGE)
    try:
        return main()
    finally:
        gc.freeze()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        exit_code = _run(words)
        if sys.stdout is not None:
            sys.stdout.flush()
        return exit_code
    except HeadraceError as error:
        complain(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return 0  # whoever read our output has seen enough
    except MemoryError:
        complain("the machine has no memory left for this. Nothing that was acknowledged is lost")
        return 3
    except OSError as error:
        told = of_system(error)
        complain(str(told))
        return told.exit_code
    except SystemExit:
        raise
    except BaseException as error:  # a panic of Polars is no Exception
        if os.environ.get("HEADRACE_DEBUG"):
            raise
        complain(unexpected(error))
        return 3
    finally:
        _let_go(sys.stdout)
        _let_go(sys.stderr)


class _Version(argparse.Action):
    """Tells the version; finding it out is put off, as that takes longer than all else here."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        version = importlib.import_module("importlib.metadata").version("headrace")
        print(f"headrace {version}")
        parser.exit()


def _run(words: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="headrace",
        description="Stream analytics you can run anywhere.",
        epilog="`headrace VERB --help` tells more. Exit codes: 0 ok, 1 data, 2 your mistake, 3 try again.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    chosen = next((word for word in words if not word.startswith("-")), "")
    if chosen and chosen not in VERBS:
        hint = did_you_mean(chosen, VERBS)
        parser.error(f"no verb is called {chosen!r}. {hint or '`headrace --help` lists them'}")
    for verb, help_text in VERBS.items():
        if verb == chosen:
            importlib.import_module(f"headrace.cli.{verb.replace('-', '_')}").add(verbs)
        else:
            verbs.add_parser(verb, help=help_text)
    parsed = parser.parse_args(words)
    exit_code: int = parsed.run(parsed)
    return exit_code


def of_system(error: OSError) -> HeadraceError:
    """Return what a user is told of an error of the system that nobody turned into one of ours."""
    number, problem = error.errno or 0, error.strerror or str(error)
    if error.filename:
        return disk_error(number, error.filename, "open", problem)
    if number in {errno.EMFILE, errno.ENFILE}:
        return disk_error(number, "a file", "open")
    if number in _OF_WRITING:
        return disk_error(number, "the output")
    return Transient(f"{problem}. Try again when that is mended")


def unexpected(error: BaseException) -> str:
    """Return what a user is told of an exception that nobody foresaw."""
    return (
        f"an unexpected {type(error).__name__}: {error}. This is a fault of Headrace itself; nothing "
        "that was acknowledged is lost. HEADRACE_DEBUG=1 shows where it happened"
    )


def complain(message: str, line: Callable[[str], str] | None = None) -> None:
    """Print a message to standard error, without any secret; one that finds no space there costs no more.

    `line` makes the line of it, unless it is to be made as all are.
    """
    with contextlib.suppress(OSError):
        print((line or _shapes[-1])(redacted(message)), file=sys.stderr, flush=True)


_shapes: Final[list[Callable[[str], str]]] = ["headrace: {}".format]


def shape_messages(line: Callable[[str], str]) -> None:
    """Let `line` make the line of every message from now on."""
    _shapes[:] = [line]


def _let_go(stream: TextIO | None) -> None:
    """Give up what cannot be written, as Python would try again at its end and show a traceback."""
    if stream is None:
        return
    try:
        stream.flush()
    except OSError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
