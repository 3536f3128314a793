"""The package's source, parsed once for all tidy tests."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "headrace"

#: Libraries that stand at the top of modules which are themselves loaded only where they are used.
OPTIONAL = {"obstore", "pyarrow"}


@dataclass(frozen=True)
class Module:
    name: str
    path: Path
    text: str
    tree: ast.Module

    @property
    def folder(self) -> str:
        """The folder or single file directly below the package, which the import law ranks."""
        parts = self.name.split(".")
        return parts[1] if len(parts) > 1 else "headrace"


@cache
def modules() -> dict[str, Module]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE.parent).with_suffix("")
        parts = relative.parts[:-1] if relative.name == "__init__" else relative.parts
        name = ".".join(parts)
        text = path.read_text("utf-8")
        found[name] = Module(name, path, text, ast.parse(text))
    return found


def imports(module: Module, *, local: bool) -> Iterator[tuple[str, int]]:
    """The package modules that `module` imports on loading; with `local` also inside functions."""
    for node in _nodes(module.tree, local=local):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            targets = [name if name in modules() else node.module for name in whole]
        else:
            continue
        for target in targets:
            if target in modules():
                yield target, node.lineno


@cache
def needing_optional_libraries() -> set[str]:
    """The package modules that cannot be loaded without a library that only some users have."""
    found = {module.name for module in modules().values() if _loads(module.tree, OPTIONAL)}
    while True:
        above = {
            module.name
            for module in modules().values()
            if any(target in found for target, _ in imports(module, local=False))
        }
        if above <= found:
            return found
        found |= above


def _loads(tree: ast.AST, libraries: set[str]) -> bool:
    for node in _nodes(tree, local=False):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        if any(name.split(".")[0] in libraries for name in names):
            return True
    return False


def _nodes(tree: ast.AST, *, local: bool) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if not local and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        yield node
        yield from _nodes(node, local=local)
