"""A reader who does what a page says, block by block, in a folder of their own.

- A block whose lead names a file ("Save this as `a.sql`:") is written there.
- `console`: lines after ``$`` are commands, the lines below one what it prints; a command must succeed unless
  the next is ``echo $?``. One that ends in ``&`` stays until the page ends.
- `python` runs; an `output` block behind it is what it prints.
- `sql` binds; with an `output` block behind it, it runs over the `json` block before it.
- `toml` loads as a project's settings; `json` holds the events for what follows.
- A table with the heads `expression` and `value` is computed over the first of these events, one with the
  head `condition` over the events in its other heads; one of statements and reasons is refused for them.
- `...` stands for anything within a line, and alone on a line for any lines.
- A block marked `no-run` is passed over and says in a comment why.
"""

import contextlib
import io
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import headrace as hr
from headrace.cli.main import main
from headrace.events.formats.json import encode_lines
from headrace.sql.bind import bind
from tests.docs.pages import Block

PATIENCE_S = 60
SHELL = re.compile(r"[|<>;&$*`]")
DOCUMENTED_PORT = "8710"


class Mismatch(AssertionError):
    """The page and the program say different things."""


def matches(expected, printed):
    """Whether `printed` is what a page shows, its dots standing for anything."""
    pattern = ""
    for line in expected.rstrip("\n").split("\n"):
        if line.strip() == "...":
            pattern += r"(?:[^\n]*\n)*?"
        else:
            pattern += re.escape(line.rstrip()).replace(r"\.\.\.", r"[^\n]*") + r"[^\S\n]*\n"
    return re.fullmatch(pattern, printed.rstrip("\n") + "\n") is not None


class Reader:
    """One reader of one page; `monkeypatch` undoes what they do to this process."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.monkeypatch = folder, monkeypatch
        monkeypatch.chdir(folder)
        monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setenv("COLUMNS", "110")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = str(free.getsockname()[1])
        self.names = {"__name__": "__page__"}
        self.events = [{}]
        self.exit_code = 0
        self.started = []

    def follow(self, found):
        """Do everything, in order; what stays running is ended at the end."""
        try:
            for index, part in enumerate(found):
                following = found[index + 1] if index + 1 < len(found) else None
                shown = following.text if getattr(following, "language", "") == "output" else None
                try:
                    self._part(part, shown)
                except Mismatch as error:
                    raise Mismatch(f"{part.place}: {error}") from None
                except Exception as error:
                    raise Mismatch(f"{part.place}: {type(error).__name__}: {error}") from error
        finally:
            self._end()

    def _part(self, part, shown):
        if not isinstance(part, Block):
            self._table(part)
        elif "no-run" in part.flags:
            if "#" not in part.text:
                raise Mismatch("a block that is not run says in a comment why")
        elif part.file:
            path = self.folder / part.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self._here(part.text))
        else:
            actions = {
                "console": self._console,
                "python": self._python,
                "sql": self._sql,
                "toml": self._toml,
                "json": self._json,
            }
            if part.language in actions:
                actions[part.language](self._here(part.text), shown)
            elif part.language not in {"output", "text"}:
                raise Mismatch(f"nobody knows what to do with a block of {part.language!r}")

    def _here(self, text):
        return text.replace(DOCUMENTED_PORT, self.port)

    # --- commands -----------------------------------------------------------------------------------------

    def _console(self, text, _shown):
        commands = []
        for line in text.split("\n")[:-1]:
            if line.startswith("$ "):
                commands.append([line[2:], ""])
            elif commands:
                commands[-1][1] += f"{line}\n"
            else:
                raise Mismatch("a block of console begins with a command after '$ '")
        for number, (command, expected) in enumerate(commands):
            printed = self._command(command)
            follows = commands[number + 1][0] if number + 1 < len(commands) else ""
            if self.exit_code and follows != "echo $?":
                raise Mismatch(f"{command!r} ended with {self.exit_code} and printed:\n{printed}")
            if not matches(expected, printed):
                raise Mismatch(f"{command!r} is said to print:\n{expected}\nand printed:\n{printed}")

    def _command(self, command):
        if command == "echo $?":
            printed, self.exit_code = f"{self.exit_code}\n", 0
            return printed
        if command.startswith("export "):
            name, _, value = shlex.split(command)[1].partition("=")
            self.monkeypatch.setenv(name, value)
            return ""
        if command.startswith("cd "):
            self.folder /= command[3:].strip()
            self.monkeypatch.chdir(self.folder)
            return ""
        if command.endswith(" &"):
            return self._start(command[:-2])
        if command.startswith("headrace ") and not SHELL.search(command):
            words = shlex.split(command, comments=True)[1:]
            self.exit_code, printed = captured(lambda: main(words))
            return printed
        done = subprocess.run(
            ["/bin/bash", "-c", command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            timeout=PATIENCE_S,
            check=False,
        )
        self.exit_code = done.returncode
        return done.stdout.decode()

    def _start(self, command):
        """Start a command that stays, and return its first line, which says that it is ready."""
        process = subprocess.Popen(
            shlex.split(command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )
        self.started.append(process)
        self.exit_code = 0
        return process.stdout.readline().decode()

    def _end(self):
        for process in self.started:
            process.terminate()
            process.stdout.close()
            process.wait(PATIENCE_S)

    # --- snippets -----------------------------------------------------------------------------------------

    def _python(self, text, shown):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(text, "snippet", "exec"), self.names)
        if shown is not None and not matches(shown, printed.getvalue()):
            raise Mismatch(f"it is said to print:\n{shown}\nand printed:\n{printed.getvalue()}")

    def _functions(self):
        own = {name: item for name, item in self.names.items() if callable(item) and name[0] != "_"}
        return {"classify": hr.load_model("papers"), **own}

    def _sql(self, text, shown):
        script = bind(text, functions=self._functions())
        if shown is None:
            return
        answer = hr.query(text, dict.fromkeys(script.inputs, self.events), functions=self._functions())
        printed = "".join(
            (f"-- {name}\n" if len(answer.batches) > 1 else "") + encode_lines(batch).decode() + "\n"
            for name, batch in answer.batches.items()
        )
        if not matches(shown, printed):
            raise Mismatch(f"it is said to give:\n{shown}\nand gave:\n{printed}")

    def _toml(self, text, _shown):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "headrace.toml").write_text(text)
            hr.Project.load(folder)

    def _json(self, text, _shown):
        self.events = [json.loads(line) for line in text.split("\n") if line]

    # --- tables of expressions ----------------------------------------------------------------------------

    def _table(self, table):
        if "expression" in table.heads and "value" in table.heads:
            expression, value = table.heads.index("expression"), table.heads.index("value")
            for row in table.rows:
                got = self._value(row[expression])
                if not _is(row[value], got):
                    raise Mismatch(f"{row[expression]} is said to be {row[value]} and is {got}")
        elif table.heads == ("statement", "refused because"):
            for statement, reason in table.rows:
                error = self._refusal(statement)
                if reason not in error:
                    raise Mismatch(f"{statement} is said to be refused because {reason}, and: {error}")
        elif table.heads[0] == "condition":
            for row in table.rows:
                for head, cell in zip(table.heads[1:], row[1:], strict=True):
                    taken = hr.query(
                        f"SELECT 1 AS n FROM events WHERE {row[0]}", {"events": [json.loads(head)]}
                    )
                    if (cell == "taken") != bool(taken["output"]):
                        raise Mismatch(f"WHERE {row[0]} with {head} is not {cell}")

    def _refusal(self, statement):
        try:
            bind(statement)
        except hr.QueryError as error:
            return str(error)
        return "it is not refused"

    def _value(self, expression):
        """The value of an expression as JSON, or its error."""
        try:
            answer = hr.query(f"SELECT {expression} AS value FROM events", {"events": self.events[:1]})
        except hr.HeadraceError as error:
            return f"error: {error}"
        return encode_lines(answer.batches["output"]).decode().removeprefix('{"value":').removesuffix("}")


def _is(said, got):
    if said.startswith("error"):
        return got.startswith("error") and said.partition(": ")[2] in got
    return said == got


def captured(call):
    """Return what `call` returns, and all that this process and those it starts print meanwhile."""
    with tempfile.TemporaryFile() as file, _outputs_to(file), _interrupted():
        try:
            result = call()
        except SystemExit as error:
            result = error.code or 0
        sys.stdout.flush()
        file.seek(0)
        return result, file.read().decode("utf-8", "replace")


@contextlib.contextmanager
def _outputs_to(file):
    outputs, saved = (sys.stdout, sys.stderr), (os.dup(1), os.dup(2))
    for output in outputs:
        output.flush()
    for number in (1, 2):
        os.dup2(file.fileno(), number)
    sys.stdout = sys.stderr = os.fdopen(1, "w", buffering=1, encoding="utf-8", closefd=False)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stdout, sys.stderr = outputs
        for number, copy in enumerate(saved, start=1):
            os.dup2(copy, number)
            os.close(copy)


@contextlib.contextmanager
def _interrupted():
    """Interrupt what takes too long, and give back the signals that a verb took for itself."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)
    handlers = {number: signal.getsignal(number) for number in numbers}
    signal.signal(signal.SIGALRM, _too_late)
    signal.alarm(PATIENCE_S)
    try:
        yield
    finally:
        signal.alarm(0)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _too_late(*_):
    raise Mismatch(f"it goes on after {PATIENCE_S} s")
