"""How a result is held to what it should be: by bits, or within what rounding may do.

`Noise` runs a graph with every result, and every operand of what adds up, off by an ulp or two, as
rounding in another order might have it. A rewrite that only rounds differently stays within a small
multiple of what that does to the outputs; a wrong one does not, unless the graph amplifies rounding
so much that its outputs mean nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import numpy as np

from graphopt.backends import reference
from graphopt.errors import GraphoptError, UnsupportedError
from graphopt.ir import Node, walk
from graphopt.types import dtype_of
from tools.fuzz_values import Values

Array = Any
LONGEST = 40
"""The most iterations of a loop that are waited for."""
LARGEST = 2.0**32
"""Rounding rules bring no NaN and no infinity for operands up to here."""
RUNS = (6, 42)
"""Noisy runs that are made at first, and on top where those do not explain a difference."""
SUMS = ("Add", "Sub", "Sum")
"""The ops whose operands are terms of the sum that a product makes of their result."""
FACTOR, ULPS = 4.0, 8.0
"""A difference may be FACTOR times that of a noisy run, and ULPS units in the last place."""


def is_array(value: Any) -> TypeGuard[np.ndarray[Any, Any]]:
    """Whether a value is an array."""
    return isinstance(value, np.ndarray)


def is_list(value: Any) -> TypeGuard[Sequence[Any]]:
    """Whether a value is a sequence, or the results of a node of several outputs."""
    return isinstance(value, list | tuple)


def is_finite(value: Any) -> bool:
    """Whether no element of a value, or of several, is infinite or NaN."""
    if is_list(value):
        return all(map(is_finite, value))
    if not is_array(value) or dtype_of(value.dtype).kind not in "fc":
        return True
    return bool(np.isfinite(value).all())


def beyond(value: Any) -> bool:
    """Whether some number is larger than what a rounding rule answers for."""
    if not is_array(value) or dtype_of(value.dtype).kind not in "fc":
        return False
    with np.errstate(all="ignore"):
        size = np.abs(value.astype(np.complex128 if value.dtype.kind == "c" else np.float64))
    return bool((np.isfinite(size) & (size > LARGEST)).any())


def computed(node: Node, operands: Sequence[Any]) -> Any:
    """The value of a node. Raises GraphoptError, of a loop also if it is run for long."""
    count = operands[0] if operands else None
    if node.op.name != "Loop" or (count is not None and count <= LONGEST):
        return reference.evaluate(node, operands)
    few, more = (reference.evaluate(node, [np.array(LONGEST + k), *operands[1:]]) for k in range(2))
    if bits_differ(few, more):
        raise UnsupportedError("the loop runs for long", at=node.label)
    return few


def evaluate(values: Values, roots: Sequence[Node]) -> list[Array]:
    """The roots' values; all that they need is added to `values`. Raises GraphoptError."""
    with np.errstate(all="ignore"):
        for node in walk([root for root in roots if root not in values]):
            if node not in values:
                values[node] = computed(node, [values[item] for item in node.inputs])
    return [values[root] for root in roots]


def bits_differ(old: Array, new: Array) -> str:
    """What is different, "" if nothing; "payload" if only a NaN's sign or payload."""
    if is_list(old):
        if not is_list(new) or len(old) != len(new):
            return "length"
        found = {bits_differ(a, b) for a, b in zip(old, new, strict=True)}
        return max(found, default="", key=lambda text: (text != "", text != "payload"))
    if old is None or new is None:
        return "" if old is new else "absence"
    if old.shape != new.shape or old.dtype != new.dtype:
        return f"{new.dtype}{list(new.shape)} instead of {old.dtype}{list(old.shape)}"
    if old.dtype == object:
        return "" if old.tolist() == new.tolist() else "text"
    if not old.size:
        return ""
    a, b = _bytes(old), _bytes(new)
    if np.array_equal(a, b):
        return ""
    if old.dtype.kind == "c":
        old, new = (np.stack([x.real, x.imag], -1) for x in (old, new))
        a, b = _bytes(old), _bytes(new)
    unequal = (a != b).any(-1).reshape(old.shape)
    if dtype_of(old.dtype).kind in "fc" and _nans(old)[unequal].all() and _nans(new)[unequal].all():
        return "payload"
    where = tuple(int(k) for k in np.argwhere(unequal)[0])
    return f"{new[where]!r} instead of {old[where]!r} at {list(where)}"


def _bytes(array: Array) -> Array:
    return np.ascontiguousarray(array).view(np.uint8).reshape(array.size, -1)


def _nans(array: Array) -> Array:
    return np.asarray(array != array)


@dataclass
class Noise:
    """What rounding differently may do to the values of `roots`, given the values under them.

    With `coarse` results are off by what the ops allow a backend, which may be an absolute error.
    """

    roots: Sequence[Node]
    given: Mapping[Node, Array]
    coarse: bool = False
    runs: list[list[Array]] = field(default_factory=list[list[Array]])

    def explains(
        self, k: int, old: Array, new: Array, *, loose: bool = False, large: bool = False
    ) -> str:
        """What is wrong with `new` for the root k, whose value is `old`; "" if rounding does it.

        With `loose`, as a rule may do that is admitted only where speed counts more; `large` says
        that what overflows may do so elsewhere.
        """
        if not is_array(old):
            return ""  # a sequence: no rule rounds one
        if old.shape != new.shape or old.dtype != new.dtype:
            return bits_differ(old, new)
        wrong = ""
        for count in RUNS:
            self._run(count)
            wrong = self._judge(old, new, [run[k] for run in self.runs], loose, large)
            if not wrong:
                break
        return wrong

    def _run(self, count: int) -> None:
        for seed in range(len(self.runs), len(self.runs) + count):
            try:
                self.runs.append(noisy(self.roots, self.given, seed, coarse=self.coarse))
            except (GraphoptError, ValueError):
                continue  # it depends on rounding whether it runs

    def _judge(self, old: Array, new: Array, runs: list[Array], loose: bool, large: bool) -> str:
        same_size = [run for run in runs if run.shape == old.shape]
        if len(same_size) < len(runs):
            return ""  # even the size depends on rounding
        kind = dtype_of(old.dtype).kind
        if kind not in "fc":
            stable = np.ones(old.shape, bool)
            for run in same_size:
                stable &= np.asarray(run == old)
            return "" if (stable <= (old == new)).all() else bits_differ(old, new)
        wide = np.complex128 if kind == "c" else np.float64
        a, b = old.astype(wide), new.astype(wide)
        with np.errstate(all="ignore"):
            off = np.abs(b - a)
            many = [run.astype(wide) for run in same_size]
            spread = np.zeros(old.shape)
            for run in many:
                spread = np.fmax(spread, np.abs(run - a))
            factor, ulps = (64.0, 1e4) if loose else (FACTOR, ULPS)
            fine = off <= factor * spread + ulps * spacing(old)
        strange = ~(np.isfinite(a) & np.isfinite(b))
        # What overflows may be written so that it does not; each step is held against double.
        alike = same_class(a, b) | (np.isinf(a) & np.isfinite(b)) | (loose & ~np.isfinite(a))
        for run in many:
            alike |= same_class(run, b) | ~(np.isfinite(spread))
        right = either(strange, alike | large, fine)
        if right.all():
            return ""
        where = tuple(int(k) for k in np.argwhere(~right)[0])
        return (
            f"{new[where]!r} instead of {old[where]!r} at {list(where)}, noise {spread[where]:.3g}"
        )


def same_class(a: Array, b: Array) -> Array:
    """Where both are numbers, both NaN, or the same infinity."""
    both = np.isfinite(a) & np.isfinite(b)
    return np.asarray(both | (np.isnan(a) & np.isnan(b)) | (a == b))


def epsilon(dtype: Any) -> tuple[float, float, float]:
    """The distance from 1 to the next number, the smallest positive one, and the normal one."""
    import ml_dtypes

    if dtype.kind == "c":
        dtype = np.dtype(np.float32 if dtype.itemsize == 8 else np.float64)
    finfo: Any = ml_dtypes.finfo
    info = finfo(dtype)
    return float(info.eps), float(info.smallest_subnormal), float(info.smallest_normal)


def either(where: Array, a: Array, b: Array) -> Array:
    """The elements of a where that is true, else those of b."""
    choose: Any = np.where  # its overloads do not know arrays of any kind
    made: Array = choose(where, a, b)
    return made


def spacing(array: Array) -> Array:
    """The units in the last place of finite numbers, in double precision."""
    eps, least, _ = epsilon(array.dtype)
    wide = np.abs(array.astype(np.complex128 if array.dtype.kind == "c" else np.float64))
    return np.where(np.isfinite(wide), wide * eps, 0) + least


def noisy(
    roots: Sequence[Node], given: Mapping[Node, Array], seed: int, *, coarse: bool = False
) -> list[Array]:
    """The roots' values with noise in everything that is computed."""
    rng = np.random.default_rng(seed)
    values: Values = {}
    nodes = list(walk(roots))
    sums = (item for node in nodes if adds_up(node) for item in node.inputs)
    terms = {item for item in sums if item.op.name in SUMS}
    with np.errstate(all="ignore"):
        for node in nodes:
            facts = node.op.facts
            if not node.inputs or node in given:
                values[node] = given[node] if node in given else reference.evaluate(node, [])
                continue
            operands = [values[item] for item in node.inputs]
            exact = facts.moves or node.op.name in ("Out", "Barrier", "Refine", "Shape")
            if not exact and (not facts.elementwise or node in terms):
                operands = [shaken(operand, rng) for operand in operands]
            made = computed(node, operands)
            units = facts.ulps if coarse else None
            values[node] = made if exact else shaken(made, rng, units)
    return [values[root] for root in roots]


def adds_up(node: Node) -> bool:
    """Whether a value has an error of its own: what is added to it is one more term of a sum."""
    facts = node.op.facts
    return bool(node.inputs) and not facts.elementwise and not facts.moves


def shaken(value: Any, rng: np.random.Generator, units: float | None = None) -> Any:
    """Floats off by up to two ulps; anything else as it is.

    With `units` they are off by so many times epsilon, too, and as far as a backend may be that
    takes subnormal numbers for zero.
    """
    if is_list(value):
        return tuple(shaken(item, rng, units) for item in value)
    if not is_array(value) or dtype_of(value.dtype).kind not in "fc":
        return value
    if value.dtype.itemsize < 2:
        return value  # steps of an 8-bit float are no noise
    return _moved(value, rng, units)


def _moved(array: Array, rng: Any, units: float | None) -> Array:
    """The elements of an array of floats, off as `shaken` says."""
    ulps, more = rng.uniform(-2, 2, array.shape), rng.uniform(-1, 1, array.shape)
    eps, _, normal = epsilon(array.dtype)
    off = spacing(array) * ulps
    if units is not None:
        off += (units * eps + normal) * more
    wide = np.complex128 if array.dtype.kind == "c" else np.float64
    return (array.astype(wide) + off).astype(array.dtype)
