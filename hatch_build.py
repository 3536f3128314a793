"""Compiles the C files of the package while it is built or installed; without a compiler it does without them."""

import os
import runpy
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

#: The instructions that every processor of the platform has: a wheel runs on another machine.
FLAGS = ("-std=gnu11", "-O3", "-fPIC", "-shared")


class CompileHook(BuildHookInterface):
    """Puts the library of each C file beside it; a wheel that has them is for this platform alone."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile what has not been, and drop what was compiled from an older source."""
        package = Path(self.root, "src", "headrace")
        library_path = runpy.run_path(str(package / "native.py"))["library_path"]
        for source in sorted(package.rglob("*.c")):
            library = library_path(source)
            for old in source.parent.glob(f"{source.stem}-*.so"):
                if old != library:
                    old.unlink()
            if library.exists() or self.compiled(source, library):
                build_data["pure_python"] = False
                platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
                build_data["tag"] = f"py3-none-{platform}"
                inside = str(library.relative_to(package.parent))
                build_data["force_include"][str(library)] = inside

    @staticmethod
    def compiled(source: Path, library: Path) -> bool:
        """Compile a C file; return whether that worked."""
        compiler = shlex.split(os.environ.get("CC", "cc"))
        unfinished = library.with_suffix(f".{os.getpid()}")
        command = [*compiler, *FLAGS, "-o", str(unfinished), str(source)]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            problem = getattr(error, "stderr", None) or error
            print(f"{source.name} is not compiled, and slower code does its work: {problem}", file=sys.stderr)
            return False
        unfinished.replace(library)
        return True
