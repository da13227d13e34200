"""The rules of the house that a program can check: layers, budgets, packaging, lazy imports.

Each check is a function over a folder (or over given text) that returns what it found, one line a
violation; next to the test that nothing is found stands one that a planted violation is.
"""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("graphopt", "passes", "frontends", "tests", "tools")
LINKED = {"passes": "graphopt.passes", "frontends": "graphopt.frontends"}
HEAVY = ("jax", "llvmlite", "networkx", "numpy", "onnx", "rich")


def sources(root: Path, folders: tuple[str, ...] = FOLDERS) -> list[Path]:
    """The Python files under some folders, those behind links left out."""
    return sorted(file for folder in folders for file in (root / folder).rglob("*.py"))


def write(root: Path, file: str, text: str = "") -> Path:
    """Plant a file, its folders made."""
    path = root / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# The import law.


@dataclass(frozen=True)
class Import:
    """A module that a file names in an import, and whether importing the file imports it."""

    line: int
    target: str
    lazy: bool


def imports(tree: ast.AST, package: str, lazy: bool = False) -> Iterator[Import]:
    """Every import of a file of `package`; those in functions or for type checkers are lazy.

    `from a import b` counts as a.b: b may be a module.
    """
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (Import(node.lineno, alias.name, lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            above = ".".join(parents[: len(parents) - node.level + 1]) if node.level else ""
            base = ".".join(part for part in (above, node.module) if part)
            yield from (Import(node.lineno, f"{base}.{alias.name}", lazy) for alias in node.names)
        elif isinstance(node, ast.Call) and (name := dynamic_import(node)):
            yield Import(node.lineno, name, lazy)
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        typing = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        yield from imports(node, package, lazy or inside or typing)


def dynamic_import(call: ast.Call) -> str:
    """The module that import_module("…") names, or an empty string."""
    function = ast.unparse(call.func).rpartition(".")[2]
    match call.args:
        case [ast.Constant(value=str(name)), *_] if function in ("import_module", "__import__"):
            return name
        case _:
            return ""


def module_name(root: Path, file: Path) -> str:
    """The dotted name under which a file is imported."""
    parts = file.relative_to(root).with_suffix("").parts
    top = LINKED.get(parts[0], parts[0])
    return ".".join([top, *parts[1:]]).removesuffix(".__init__")


def within(name: str, *modules: str) -> bool:
    """Whether a dotted name is one of the modules or lies in one."""
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def lawful(module: str, found: Import) -> bool:
    """Whether `module` may have this import."""
    doors = within(found.target, "graphopt.frontends")
    policy = within(found.target, "graphopt.passes")
    if within(module, "graphopt.passes"):
        return not doors
    if within(module, "graphopt.frontends"):
        return not policy
    if within(module, "graphopt.engine") and within(found.target, "graphopt"):
        return within(found.target, "graphopt.engine", "graphopt.errors")
    reaches = module in ("graphopt", "graphopt.api") or within(module, "graphopt.cli")
    return not (doors or policy) or (reaches and found.lazy)


def unlawful_imports(root: Path) -> list[str]:
    """Imports that look up: see `lawful`."""
    found: list[str] = []
    for file in sources(root, ("graphopt", "passes", "frontends")):
        module = module_name(root, file)
        package = module if file.name == "__init__.py" else module.rpartition(".")[0]
        found += [
            f"{file.relative_to(root)}:{each.line} imports {each.target}"
            for each in imports(ast.parse(file.read_bytes()), package)
            if not lawful(module, each)
        ]
    return found


def test_imports_only_look_down() -> None:
    assert unlawful_imports(ROOT) == []


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("graphopt/ir.py", "import graphopt.passes.fold"),
        ("graphopt/ir.py", "def f():\n    from graphopt import passes"),
        ("graphopt/ops/a.py", "from ..frontends import onnx"),
        ("graphopt/ir.py", "import importlib\nimportlib.import_module('graphopt.passes')"),
        ("graphopt/__init__.py", "from graphopt.passes import fold"),
        ("graphopt/__init__.py", "from . import passes"),
        ("graphopt/api.py", "from graphopt.passes import PASSES"),
        ("graphopt/check.py", "def f():\n    from graphopt.frontends.onnx import load"),
        ("graphopt/cli/opt.py", "from graphopt.frontends.onnx import load"),
        ("graphopt/engine/core.py", "from graphopt.ir import Node"),
        ("graphopt/engine/core.py", "def f():\n    from graphopt import types"),
        ("passes/fold.py", "from graphopt.frontends.onnx import load"),
        ("frontends/onnx/load.py", "def f():\n    import graphopt.passes"),
    ],
)
def test_import_that_looks_up_is_found(tmp_path: Path, file: str, text: str) -> None:
    write(tmp_path, file, text)
    assert len(unlawful_imports(tmp_path)) == 1


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("graphopt/__init__.py", "def f():\n    from graphopt.passes import fold"),
        ("graphopt/__init__.py", "if TYPE_CHECKING:\n    from graphopt.frontends import onnx"),
        ("graphopt/api.py", "def f():\n    from graphopt.frontends.onnx import load"),
        ("graphopt/cli/opt.py", "def f():\n    from graphopt.frontends.onnx import load"),
        ("graphopt/engine/core.py", "import heapq\nfrom graphopt.errors import GraphoptError"),
        ("passes/fold.py", "from graphopt.ir import Node\nfrom graphopt.passes import prune"),
        ("frontends/onnx/load.py", "from graphopt.ir import Node"),
    ],
)
def test_import_that_looks_down_is_allowed(tmp_path: Path, file: str, text: str) -> None:
    write(tmp_path, file, text)
    assert unlawful_imports(tmp_path) == []


# The budgets.


def length(statement: ast.stmt) -> int:
    """The lines of a statement."""
    return (statement.end_lineno or statement.lineno) - statement.lineno + 1


def functions(text: str) -> Iterator[tuple[str, int, int]]:
    """Name, first line, and number of lines without the docstring of each function."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = 0 if ast.get_docstring(node) is None else length(node.body[0])
            yield node.name, node.lineno, length(node) - docstring


def over_budget(root: Path, file_limit: int = 400, median: int = 200, limit: int = 60) -> list[str]:
    """Files and functions that are too long, and the median of files if that is."""
    found: list[str] = []
    lengths: list[int] = []
    for file in sources(root):
        text, where = file.read_text(encoding="utf-8"), file.relative_to(root)
        lengths.append(len(text.splitlines()))
        if lengths[-1] > file_limit:
            found.append(f"{where} has {lengths[-1]} lines")
        found += [
            f"{where}:{line} {name} has {lines} lines"
            for name, line, lines in functions(text)
            if lines > limit
        ]
    if lengths and (middle := statistics.median(lengths)) > median:
        found.append(f"the median of files has {middle:g} lines")
    return found


def test_files_and_functions_keep_their_budget() -> None:
    assert over_budget(ROOT) == []


def test_long_file_and_function_are_found(tmp_path: Path) -> None:
    write(tmp_path, "graphopt/short.py", "x = 1\n")
    write(tmp_path, "graphopt/fits.py", "def f():\n" + "    x = 1\n" * 59)
    write(tmp_path, "graphopt/text.py", 'def f():\n    """\n' + "    a\n" * 80 + '    """\n')
    assert over_budget(tmp_path) == []
    write(tmp_path, "graphopt/long.py", "x = 1\n" * 401)
    write(tmp_path, "passes/long.py", "def f():\n" + "    x = 1\n" * 60)
    assert over_budget(tmp_path) == [
        "graphopt/long.py has 401 lines",
        "passes/long.py:1 f has 61 lines",
    ]
    assert over_budget(tmp_path, median=50)[-1] == "the median of files has 61 lines"


# Packaging: the package list is written by hand, so that a checkout without links builds alike.


def unpackaged(root: Path) -> list[str]:
    """Where the folders and links differ from the package list and package-dir of pyproject."""
    config = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    listed = set(config["tool"]["setuptools"]["packages"])
    mapped: dict[str, str] = config["tool"]["setuptools"]["package-dir"]
    files = sources(root, ("graphopt", "passes", "frontends"))
    folders = {module_name(root, file) for file in files if file.name == "__init__.py"}
    with_code = {module_name(root, file.parent) for file in files}
    found = [f"{name} is listed but has no __init__.py" for name in sorted(listed - folders)]
    found += [f"{name} is a package but not listed" for name in sorted(folders - listed)]
    found += [f"{name} holds code but no __init__.py" for name in sorted(with_code - folders)]
    for name, folder in mapped.items():
        link = root / name.replace(".", "/")
        if not link.is_symlink() or link.resolve() != (root / folder).resolve():
            found.append(f"{name} is {folder}/, but the link does not say so")
    return found


def test_package_list_is_complete() -> None:
    assert unpackaged(ROOT) == []


def test_unlisted_package_and_wrong_link_are_found(tmp_path: Path) -> None:
    setuptools = 'packages = ["graphopt", "graphopt.passes", "graphopt.gone"]\n'
    setuptools += 'package-dir = { "graphopt.passes" = "passes" }\n'
    write(tmp_path, "pyproject.toml", f"[tool.setuptools]\n{setuptools}")
    for file in ("graphopt/__init__.py", "passes/__init__.py", "passes/new/__init__.py"):
        write(tmp_path, file)
    write(tmp_path, "graphopt/bare/code.py")
    assert unpackaged(tmp_path) == [
        "graphopt.gone is listed but has no __init__.py",
        "graphopt.passes.new is a package but not listed",
        "graphopt.bare holds code but no __init__.py",
        "graphopt.passes is passes/, but the link does not say so",
    ]
    (tmp_path / "graphopt/passes").symlink_to("../passes")
    assert len(unpackaged(tmp_path)) == 3


# Start-up: a shell command and `import graphopt` load nothing that takes its time.


def loaded(code: str, names: tuple[str, ...]) -> set[str]:
    """Which of the modules are loaded after running some code in an interpreter of its own."""
    report = f"import sys\nfor name in {names!r}:\n    if name in sys.modules:\n        print(name)"
    script = f"try:\n    exec({code!r})\nexcept SystemExit:\n    pass\nprint('--')\n{report}"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return set(done.stdout.rpartition("--\n")[2].split())


def test_import_is_light() -> None:
    assert loaded("import graphopt", HEAVY) == set()


def test_help_is_light() -> None:
    code = "import sys; sys.argv = ['graphopt-opt', '--help']; from graphopt.cli import opt; opt()"
    assert loaded(code, ("numpy", "onnx")) == set()


def test_heavy_import_is_found() -> None:
    assert loaded("import json; raise SystemExit(0)", ("json", "wave")) == {"json"}


# Marks that must not stand in the code. The patterns are written so as not to find themselves.

UNWANTED = {
    "a path of one machine": re.compile(r"/(?:wor[k]|roo[t]|hom[e]/\w+)/|/tm[p]/\w"),
    "an ignored type error without its code": re.compile(r"#\s*type:\s*ignor[e](?!\[)"),
}


def unwanted(root: Path) -> list[str]:
    """Lines of code that hold what UNWANTED describes."""
    return [
        f"{file.relative_to(root)}:{number} has {what}"
        for file in sources(root)
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        for what, pattern in UNWANTED.items()
        if pattern.search(line)
    ]


def test_code_has_no_unwanted_marks() -> None:
    assert unwanted(ROOT) == []


def test_unwanted_marks_are_found(tmp_path: Path) -> None:
    mark, folder = "# type: ignor" + "e", "/tm" + "p/"
    lines = ["'/wor" + "k/a'", f"1  {mark}", f"1  {mark}[misc]", f"'{folder}b'", f"'{folder}'"]
    write(tmp_path, "tools/a.py", "\n".join(lines))
    assert unwanted(tmp_path) == [
        "tools/a.py:1 has a path of one machine",
        "tools/a.py:2 has an ignored type error without its code",
        "tools/a.py:4 has a path of one machine",
    ]
