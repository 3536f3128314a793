"""Compiled code: how it is built, and what becomes of an installation that has none that works."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from headrace import native
from headrace.project.diagnosis import compiled_code

ROOT = Path(__file__).parents[2]

needs_compiler = pytest.mark.skipif(
    shutil.which((os.environ.get("CC") or "cc").split()[0]) is None, reason="there is no C compiler here"
)


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return what the build hook defines; the interface of the build tool stands in for the tool."""
    name = "hatchling.builders.hooks.plugin.interface"
    interface = ModuleType(name)
    interface.BuildHookInterface = object  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, name, interface)
    return runpy.run_path(str(ROOT / "hatch_build.py"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a C file in a package."""
    path = tmp_path / "package" / "formats" / "answer.c"
    path.parent.mkdir(parents=True)
    path.write_text("int answer(void) { return 1; }\n")
    return path


def package(source: Path) -> Path:
    return source.parents[1]


def names(source: Path) -> set[str]:
    return {path.name for path in source.parent.iterdir()}


@needs_compiler
def test_a_source_that_has_changed_has_another_library_and_the_old_one_is_dropped(
    build: dict[str, Any], source: Path
) -> None:
    [first] = build["compiled_libraries"](package(source))
    source.write_text("int answer(void) { return 2; }\n")
    assert native.library(source) is None
    [second] = build["compiled_libraries"](package(source))
    assert names(source) == {source.name, second.name}
    assert first != second
    functions = native.library(source)
    assert functions is not None
    assert functions.answer() == 2


@needs_compiler
def test_a_library_that_is_there_is_not_compiled_again(
    build: dict[str, Any], source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    libraries = build["compiled_libraries"](package(source))
    monkeypatch.setenv("CC", "false")
    assert build["compiled_libraries"](package(source)) == libraries


@needs_compiler
def test_a_library_of_another_machine_is_as_none_and_compiled_again(
    build: dict[str, Any], source: Path
) -> None:
    library = native.library_path(source)
    library.write_bytes(b"\x7fELF of another machine")
    assert native.library(source) is None
    assert build["compiled_libraries"](package(source)) == [library]
    assert native.library(source) is not None


@pytest.mark.parametrize("compiler", ["false", "no-such-compiler --fast", '"unbalanced', "sh -c 'exit 3'"])
def test_without_a_compiler_that_works_there_is_no_library_and_one_line_says_so(
    compiler: str,
    build: dict[str, Any],
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    native.library_path(source).write_bytes(b"rubbish")
    monkeypatch.setenv("CC", compiler)
    assert build["compiled_libraries"](package(source)) == []
    assert names(source) == {source.name}
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("answer.c is not compiled, and slower code does its work: ")


@needs_compiler
def test_a_source_with_an_error_is_said_in_one_line(
    build: dict[str, Any], source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source.write_text("int answer(void) { return }\nint other(void) { return }\n")
    assert build["compiled_libraries"](package(source)) == []
    assert len(capsys.readouterr().err.splitlines()) == 1


@needs_compiler
def test_installations_at_once_do_not_break_each_other(build: dict[str, Any], source: Path) -> None:
    (source.parent / "answer-0000000000000000.so").write_bytes(b"of an older source")
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(build["compiled_libraries"], [package(source)] * 4))
    assert found == [[native.library_path(source)]] * 4
    assert names(source) == {source.name, native.library_path(source).name}


@needs_compiler
def test_a_wheel_with_libraries_is_for_this_platform_and_one_without_or_of_a_folder_for_any(
    build: dict[str, Any], tmp_path: Path
) -> None:
    source = tmp_path / "src" / "headrace" / "answer.c"
    source.parent.mkdir(parents=True)
    hook = build["CompileHook"]()
    hook.root = str(tmp_path)
    data: dict[str, Any] = {"force_include": {}}
    hook.initialize("standard", data)
    assert data == {"force_include": {}}
    source.write_text("int answer(void) { return 1; }\n")
    hook.initialize("editable", data)
    library = native.library_path(source)
    assert library.exists()
    assert data == {"force_include": {}}
    hook.initialize("standard", data)
    assert data["force_include"] == {str(library): f"headrace/{library.name}"}
    assert data["tag"].startswith("py3-none-")
    assert data["pure_python"] is False


@needs_compiler
@pytest.mark.parametrize("path", sorted((ROOT / "src").rglob("*.c")), ids=lambda path: path.name)
def test_each_c_file_compiles_without_a_warning(path: Path) -> None:
    compiler = (os.environ.get("CC") or "cc").split()
    warnings = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror")
    subprocess.run([*compiler, "-std=gnu11", "-fsyntax-only", *warnings, str(path)], check=True)


def test_a_process_without_libraries_decodes_the_same_rows(tmp_path: Path) -> None:
    copy = tmp_path / "headrace"
    shutil.copytree(
        ROOT / "src" / "headrace", copy, ignore=shutil.ignore_patterns("*.so", "__pycache__", "web")
    )
    script = (
        "import headrace.events.formats.json_decode as d, headrace.native as n, sys\n"
        "decoder = d.JsonDecoder()\n"
        "for _ in range(2):\n"
        '    got = decoder.decode([b\'{"a":%d,"b":["x", %d.5]}\' % (i, i) for i in range(40)] + [b\'{\'])\n'
        "print(bool(n.not_compiled()), got.rejects, got.batch.frame.to_dict(as_series=False))\n"
    )
    answers = []
    for folder in (tmp_path, ROOT / "src"):
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONPATH": str(folder)},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        answers.append(done.stdout.partition(" "))
    assert answers[0][0] == "True"
    assert answers[0][2] == answers[1][2]


def test_the_doctor_says_what_is_not_compiled_and_what_to_do() -> None:
    assert compiled_code([]).verdict == "ok"
    finding = compiled_code([Path("json_lines.c")])
    assert (finding.verdict, finding.found) == ("warn", "no json_lines")
    assert "install a C compiler" in finding.advice
