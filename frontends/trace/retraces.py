"""Why a function was traced: what differs from the trace that was nearest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphopt.frontends.trace.arguments import Leaf
from graphopt.frontends.trace.run import Traced
from graphopt.frontends.trace.sources import MISSING, read, same


class History:
    """The traces of a function. Prints as one line for each."""

    def __init__(self) -> None:
        self.count = 0
        self._lines: list[str] = []
        self._seen: list[dict[str, str]] = []

    def traced(self, leaves: Sequence[Leaf], before: Sequence[Traced]) -> None:
        """Note a trace; `before` are those for the same arguments, whose guards failed."""
        self.count += 1
        now = {leaf.path: text_of(leaf) for leaf in leaves}
        reasons = _failed(before[0]) if before else self._differences(now)
        self._seen.append(now)
        if self.count == 1:
            reasons = ["the first call"]
        self._lines.append(
            f"trace {self.count}: {'; '.join(reasons) or 'another form of arguments'}"
        )

    def specialised(self, leaves: Sequence[Leaf], needed: frozenset[int], why: str) -> None:
        """Note that numbers are static from now on."""
        names = ", ".join(leaves[position].path for position in sorted(needed))
        self._lines.append(f"argument {names} is static: {why}")

    def _differences(self, now: dict[str, str]) -> list[str]:
        """What differs from the trace that differs least."""

        def changes(old: dict[str, str]) -> list[str]:
            return [
                f"argument {path}: {old.get(path, 'absent')} → {now.get(path, 'absent')}"
                for path in dict.fromkeys((*old, *now))
                if old.get(path) != now.get(path)
            ]

        none: list[str] = []
        return min(map(changes, self._seen), key=len, default=none)

    def __str__(self) -> str:
        return "\n".join(self._lines)


def text_of(leaf: Leaf) -> str:
    """A leaf as a message shows it."""
    if leaf.kind == "array":
        return f"{leaf.key[2]}[{', '.join(map(str, leaf.key[1]))}]"
    if leaf.kind in ("number", "scalar"):
        return f"a {leaf.key[1].__name__}"
    if leaf.kind == "object":
        return f"{leaf.key[1].__name__} at {leaf.key[2]:#x}"
    value: Any = leaf.key[1]
    return repr(value[1] if isinstance(value, tuple) and len(value) == 2 else value)  # pyright: ignore


def _failed(traced: Traced) -> list[str]:
    """Which readings differ from what a trace saw."""
    found: list[str] = []
    for source, value in traced.guards:
        now = read(source)
        if not same(now, value):
            found.append(f"{source.text}: {_short(value)} → {_short(now)}")
    for item in traced.inputs:
        if item.source is not None:
            now, kind = read(item.source), item.node.tensor_type
            shape, dtype = getattr(now, "shape", MISSING), getattr(now, "dtype", MISSING)
            if (shape, dtype) != (kind.shape, kind.dtype.numpy):
                found.append(f"{item.source.text}: {kind} → {dtype}{shape}")
    return found[:3]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
