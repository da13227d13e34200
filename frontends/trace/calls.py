"""The code of a cached call: straight-line Python made for what a function is called with.

    def call(x, w, alpha=default):
        if type(x) is ndarray and type(w) is ndarray and type(alpha) is float:
            entry = table.get((x.shape, x.dtype, w.shape, w.dtype))
            if entry is not None and (made := entry(x, w, alpha)) is not MISS:
                return made
        return slow((x, w, alpha))

An entry checks what the trace read from outside, runs the program, and puts the result together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import Parameter
from typing import Any

import numpy as np

from graphopt.errors import ExecutionError
from graphopt.frontends.trace.arguments import Leaf, Parameters, static_key
from graphopt.frontends.trace.kinds import class_of, is_kind
from graphopt.frontends.trace.run import DTYPES, Result, Traced
from graphopt.frontends.trace.sources import Source, same
from graphopt.frontends.trace.tree import LEAF, NONE, Tree
from graphopt.ir import Node

Array = Any
MISS: Any = object()
"""What an entry returns when something that the trace read has changed."""
PREFIX = "__g_"
"""How names in the generated code begin that are not the user's."""


class Names:
    """The objects that generated code refers to, by name."""

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {f"{PREFIX}ndarray": np.ndarray}
        self._known: dict[int, str] = {}

    def bind(self, value: Any) -> str:
        """A name for an object."""
        if id(value) not in self._known:
            name = f"{PREFIX}{len(self.objects)}"
            self._known[id(value)] = name
            self.objects[name] = value
        return self._known[id(value)]

    def define(self, source: str, name: str, title: str) -> Callable[..., Any]:
        """The function `name` of a text."""
        exec(compile(source, f"<graphopt {title}>", "exec"), self.objects)
        found: Callable[..., Any] = self.objects[name]
        return found


class Pattern:
    """One kind of call: which classes the leaves are of, and how the table's key is made."""

    def __init__(self, tree: Tree, leaves: Sequence[Leaf], values: Sequence[Any]) -> None:
        self.tree = tree
        self.leaves = list(leaves)
        self.kinds = [class_of(value) for value in values]
        self.table: dict[Any, Callable[..., Any]] = {}
        self.shape = (
            tree,
            tuple((leaf.kind, leaf.key[0], k) for leaf, k in zip(leaves, self.kinds, strict=True)),
        )

    def key(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """The key in the table of a call with these leaves."""
        parts: list[Any] = []
        for leaf, value in zip(self.leaves, values, strict=True):
            if leaf.kind == "array":
                parts += (value.shape, value.dtype)
            elif leaf.kind == "value":
                parts.append(static_key(value))
            elif leaf.kind == "object":
                parts.append(id(value))
        return tuple(parts)

    def code(self, names: Names, roots: Sequence[str]) -> list[str]:
        """The lines that try this pattern on arguments."""
        self._names = names
        self._pending = list(zip(self.leaves, self.kinds, strict=True))
        self._keys: list[str] = []
        self._passed: list[str] = []
        self._tests: list[str] = []
        self._lines: list[str] = []
        self._depth, self._count = 1, 0
        for root, tree in zip(roots, self.tree.parts, strict=True):
            self._visit(root, tree)
        self._open()
        self._add(f"{PREFIX}e = {names.bind(self.table)}.get(({_row(self._keys)}))")
        self._add(f"if {PREFIX}e is not None:")
        self._add(f"    {PREFIX}r = {PREFIX}e({', '.join(self._passed)})")
        self._add(f"    if {PREFIX}r is not {names.bind(MISS)}:")
        self._add(f"        return {PREFIX}r")
        return self._lines

    def _add(self, line: str) -> None:
        self._lines.append(f"{'    ' * self._depth}{line}")

    def _open(self) -> None:
        """Write the tests that have gathered as one `if`."""
        if self._tests:
            self._add(f"if {' and '.join(self._tests)}:")
            self._depth += 1
            self._tests = []

    def _visit(self, at: str, tree: Tree) -> None:
        """Test an item, and what is in it."""
        if tree is NONE:
            self._tests.append(f"{at} is None")
            return
        if tree is LEAF:
            self._tests.append(self._leaf(at))
            return
        parts = [f"{PREFIX}v{self._count + k}" for k in range(len(tree.parts))]
        self._count += len(parts)
        self._tests.append(f"type({at}) is {self._names.bind(tree.kind)}")
        if not tree.keys:
            self._tests.append(f"len({at}) == {len(parts)}")
        elif is_kind(tree.kind, dict):
            self._tests.append(f"tuple({at}) == {self._names.bind(tree.keys)}")
        self._open()
        if tree.keys and not is_kind(tree.kind, dict):
            for name, key in zip(parts, tree.keys, strict=True):
                self._add(f"{name} = {at}.{key}")
        elif parts:
            self._add(f"{_row(parts)}= {at}{'.values()' if tree.keys else ''}")
        for name, part in zip(parts, tree.parts, strict=True):
            self._visit(name, part)

    def _leaf(self, at: str) -> str:
        leaf, kind = self._pending.pop(0)
        bind = self._names.bind
        if leaf.kind == "array":
            self._keys += (f"{at}.shape", f"{at}.dtype")
            self._passed.append(at)
            return f"type({at}) is {PREFIX}ndarray"
        if leaf.kind in ("number", "scalar"):
            self._passed.append(at)
        elif leaf.kind == "value":
            self._keys.append(f"{bind(static_key)}({at})")
        else:
            self._keys.append(f"id({at})")
        return f"type({at}) is {bind(kind)}"


def call_code(
    parameters: Parameters,
    patterns: Sequence[Pattern],
    slow: Callable[[tuple[Any, ...]], Any],
    name: str,
) -> Callable[..., Any]:
    """The function that takes a function's arguments and finds the entry for them."""
    names = Names()
    header: list[str] = []
    mark = False
    for param in parameters.all:
        if param.kind is Parameter.VAR_POSITIONAL:
            header.append(f"*{param.name}")
            mark = True
            continue
        if param.kind is Parameter.VAR_KEYWORD:
            header.append(f"**{param.name}")
            continue
        if param.kind is Parameter.KEYWORD_ONLY and not mark:
            header.append("*")
            mark = True
        default = param.default
        header.append(
            param.name if default is Parameter.empty else f"{param.name}={names.bind(default)}"
        )
    only = sum(param.kind is Parameter.POSITIONAL_ONLY for param in parameters.all)
    if only:
        header.insert(only, "/")
    roots = [param.name for param in parameters.all]
    lines = [f"def {PREFIX}call({', '.join(header)}):"]
    for pattern in patterns:
        lines += pattern.code(names, roots)
    values = "".join(f"{root}, " for root in roots)
    lines.append(f"    return {names.bind(slow)}(({values}))")
    made = names.define("\n".join(lines), f"{PREFIX}call", f"call of {name}")
    made.__name__ = made.__qualname__ = name
    return made


def entry_code(
    traced: Traced, program: Callable[..., Any], outputs: Sequence[Node], leaves: Sequence[Leaf]
) -> Callable[..., Any]:
    """The function of the leaves that are passed; it returns MISS when a guard fails."""
    names = Names()
    passed = [k for k, leaf in enumerate(leaves) if leaf.kind not in ("value", "object")]
    at = {k: f"v{k}" for k in passed}
    lines = [f"def entry({', '.join(at.values())}):", "    try:"]
    arrays: list[str] = []
    tests: list[str] = []
    for position, item in enumerate(traced.inputs):
        if item.source is not None:
            lines.append(f"        c{position} = {item.source.code(names.bind)}")
            kind = item.node.tensor_type
            tests.append(
                f"type(c{position}) is {PREFIX}ndarray and c{position}.shape == {kind.shape!r}"
                f" and c{position}.dtype == {names.bind(kind.dtype.numpy)}"
            )
            arrays.append(f"c{position}")
        elif item.leaf is not None:
            leaf = leaves[item.leaf]
            name = at[item.leaf]
            if leaf.kind == "number":
                dtype = DTYPES[leaf.key[1]].numpy
                lines.append(
                    f"        {name} = {names.bind(np.array)}({name}, {names.bind(dtype)})"
                )
            elif leaf.kind == "scalar":
                lines.append(f"        {name} = {names.bind(np.asarray)}({name})")
            arrays.append(name)
    tests += [_guard(source, value, names) for source, value in traced.guards]
    if tests:
        lines.append(f"        if not ({' and '.join(tests)}):")
        lines.append(f"            return {names.bind(MISS)}")
    lines += [
        "        pass",
        "    except (LookupError, ValueError, AttributeError, OverflowError):",
    ]
    lines.append(f"        return {names.bind(MISS)}")
    written = [at[k] for k in traced.writes]
    if written:
        others = [name for name in arrays if name not in written]
        lines.append(f"    {names.bind(check_apart)}(({_row(written)}), ({_row(others)}))")
    lines += _run(traced, outputs, arrays, names, program)
    return names.define("\n".join(lines), "entry", f"entry of {traced.graph.name}")


def _row(parts: Sequence[str]) -> str:
    return "".join(f"{part}, " for part in parts)


def _guard(source: Source, value: Any, names: Names) -> str:
    """A test that a reading gives what it gave."""
    code = source.code(names.bind)
    if value is None or isinstance(value, bool):
        return f"{code} is {value}"
    if type(value) in (int, float, complex, str, bytes, tuple, frozenset):
        known = names.bind(value)
        return f"(({PREFIX}g := {code}) is {known} or {names.bind(same)}({PREFIX}g, {known}))"
    return f"{code} is {names.bind(value)}"


def _run(
    traced: Traced, outputs: Sequence[Node], arrays: Sequence[str], names: Names, program: Any
) -> list[str]:
    lines: list[str] = []
    count = len(traced.graph.outputs)
    if count:
        targets = _row([f"r{k}" for k in range(count)])
        lines.append(f"    {targets}= {names.bind(program)}({', '.join(arrays)})")
    seen: set[Node] = set()
    for k, node in enumerate(outputs):
        if node in seen:
            lines.append(f"    r{k} = r{k}.copy()")
        elif node.op.facts.ufunc:
            lines.append(f"    if r{k}.base is not None: r{k} = r{k}.copy()")
        else:
            lines.append(f"    r{k} = {names.bind(owned)}(r{k}, ({_row(arrays)}))")
        seen.add(node)
    first = count - len(traced.writes)
    for k, leaf in enumerate(traced.writes):
        lines.append(f"    {names.bind(np.copyto)}(v{leaf}, r{first + k})")
    results = [_result(result, names) for result in traced.results]
    lines.append(f"    return {_tree(traced.tree, results, names)}")
    return lines


def _result(result: Result, names: Names) -> str:
    if result.kind == "array":
        return f"r{result.position}"
    if result.kind == "scalar":
        return f"r{result.position}[()]"
    if result.kind == "number":
        return f"r{result.position}.item()"
    copied = ".copy()" if type(result.value) is np.ndarray else ""
    return f"{names.bind(result.value)}{copied}"


def _tree(tree: Tree, results: list[str], names: Names) -> str:
    """An expression that puts the result together; takes from the front of `results`."""
    if tree is LEAF:
        return results.pop(0)
    if tree is NONE:
        return "None"
    parts = [_tree(part, results, names) for part in tree.parts]
    if tree.kind is tuple:
        return f"({_row(parts)})"
    if tree.kind is list:
        return f"[{_row(parts)}]"
    if tree.kind is dict:
        pairs = zip(tree.keys, parts, strict=True)
        return f"{{{', '.join(f'{names.bind(key)}: {part}' for key, part in pairs)}}}"
    from graphopt.frontends.trace.tree import plain

    return f"{names.bind(plain)}({names.bind(tree)}, ({_row(parts)}))"


def owned(array: Array, inputs: tuple[Array, ...]) -> Array:
    """An array that nobody else holds: itself, or a copy."""
    array = np.asarray(array)
    shared = array.base is not None or not array.flags.writeable
    return array.copy() if shared or any(array is item for item in inputs) else array


def check_apart(written: tuple[Array, ...], others: tuple[Array, ...]) -> None:
    """Raise where an array that a function writes to is read-only or overlaps another argument.

    Raises ValueError as NumPy does for the first, ExecutionError for the second.
    """
    for position, array in enumerate(written):
        if not array.flags.writeable:
            raise ValueError("assignment destination is read-only")
        for other in (*written[position + 1 :], *others):
            if np.may_share_memory(array, other) and np.shares_memory(array, other):
                raise ExecutionError(
                    "an array that the function writes to shares memory with another argument,"
                    " which is not supported yet"
                )
        if overlaps_itself(array):
            raise ExecutionError("an array that the function writes to overlaps itself")


def overlaps_itself(array: Array) -> bool:
    """Whether two elements of an array may be at one place."""
    extent = array.itemsize
    steps = sorted((abs(s), n) for s, n in zip(array.strides, array.shape, strict=True) if n > 1)
    for stride, size in steps:
        if stride < extent:
            return True
        extent = stride * (size - 1) + extent
    return False
