"""Compiles the C files of the package while it is built or installed; without a compiler it does without."""

import os
import runpy
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

#: The instructions that every processor of the platform has: a wheel runs on another machine.
FLAGS = ("-std=gnu11", "-O3", "-fPIC", "-shared")


class CompileHook(BuildHookInterface):
    """Puts the library of each C file beside it; a wheel that has them is for this platform alone."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile what has not been for this machine, and drop what was compiled from an older source."""
        package = Path(self.root, "src", "headrace")
        libraries = compiled_libraries(package)
        if version == "editable":  # what is installed is the folder, and they stand in it
            return
        for library in libraries:
            build_data["pure_python"] = False
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["tag"] = f"py3-none-{platform}"
            build_data["force_include"][str(library)] = str(library.relative_to(package.parent))


def compiled_libraries(package: Path) -> list[Path]:
    """Return the libraries of the C files in a package: those there were, and those that could be made."""
    native = runpy.run_path(str(Path(__file__).with_name("src") / "headrace" / "native.py"))
    libraries = []
    for source in sorted(package.rglob("*.c")):
        library = native["library_path"](source)
        for other in source.parent.glob(f"{source.stem}-*.so"):
            if other != library:
                with suppress(OSError):  # another installation has dropped it, or the folder is read-only
                    other.unlink()
        if native["library"](source) is not None or compiled(source, library):
            libraries.append(library)
        else:
            with suppress(OSError):
                library.unlink()
    return libraries


def compiled(source: Path, library: Path) -> bool:
    """Compile a C file; return whether that worked. Who compiles it at the same time does no harm."""
    try:
        with tempfile.TemporaryDirectory(prefix=".compiled-", dir=library.parent) as folder:
            unfinished = Path(folder, library.name)
            command = [*shlex.split(os.environ.get("CC") or "cc"), *FLAGS, "-o", str(unfinished), str(source)]
            subprocess.run(command, check=True, capture_output=True, text=True, errors="replace")
            unfinished.replace(library)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        problem = str(getattr(error, "stderr", None) or error).strip().partition("\n")[0]
        sys.stderr.write(f"{source.name} is not compiled, and slower code does its work: {problem}\n")
        return False
    return True
