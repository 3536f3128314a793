"""Where dead letters came from, as people say it: of a line of files the name of its file, too."""

from __future__ import annotations

from headrace.connect.files import FileSettings
from headrace.limits import MAX_INPUT_FILE_BYTES
from headrace.local.dead_letters import DEAD_OUTPUT, DEAD_ROW, DeadLetter
from headrace.local.input_files import InputFile, InputFiles
from headrace.local.namespace import Namespace
from headrace.project import Project


class LetterPlaces:
    """Tells the places of letters; files are those that the inputs of their jobs have on record."""

    def __init__(self, project: Project, namespace: Namespace) -> None:
        self._project, self._namespace = project, namespace
        self._known: dict[tuple[str, str], list[InputFile]] = {}

    def text(self, letter: DeadLetter) -> str:
        """Return what stands behind the source of a letter."""
        match letter.source_kind:
            case "queue":
                return f", message {letter.position}"
            case "file" if letter.tenant:  # of a dataset: a point that failed, a line, or all of it
                if letter.partition:
                    return f", point {letter.position + 1}"
                return f", line {letter.position}" if letter.position else ""
            case "file":
                return self._in_file(letter)
            case kind if kind == DEAD_ROW:
                return f", epoch {letter.partition}"
            case kind if kind == DEAD_OUTPUT:
                return ""
        return f", partition {letter.partition}, offset {letter.position}"

    def _in_file(self, letter: DeadLetter) -> str:
        """Return the file and the place in it: its number where no input of the project has it on record."""
        number, at = divmod(letter.position, MAX_INPUT_FILE_BYTES)
        found = {
            (files[number].name, settings.opener.of_rows(files[number].name))
            for name, settings in self._project.inputs.items()
            if isinstance(settings, FileSettings) and settings.path == letter.source
            if number < len(files := self._files(letter.job, name))
        }
        if len(found) != 1:
            return f", file {number + 1}, byte {at}"
        [(name, of_rows)] = found
        named = f", {name}" if name != letter.source else ""
        return f"{named}, row {at + 1}" if of_rows else f"{named}, byte {at}"

    def _files(self, job: str, name: str) -> list[InputFile]:
        if (job, name) not in self._known:
            self._known[job, name] = InputFiles(self._namespace, job, name).since(0)
        return self._known[job, name]
