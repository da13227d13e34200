"""Every application of a rule held to the rule's own class, apart from what came before and after.

A graph remembers what each value was made from (`tables.derivations`). Both are computed from the
values that they share, which count as exact: what differs is this one step's doing. A rounding rule
is held against double precision where that can be had: its error may be that of the original and
an ulp more, beside what the ops' own bounds allow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphopt.backends.namespace import NUMPY
from graphopt.errors import GraphoptError
from graphopt.ir import Node, types_of, walk
from graphopt.rewriting.rule import Soundness
from graphopt.types import DType, TensorType, dtype_of
from tools.fuzz_compare import (
    FACTOR,
    Noise,
    adds_up,
    beyond,
    bits_differ,
    either,
    evaluate,
    is_array,
    same_class,
    spacing,
)
from tools.fuzz_values import Values

Array = Any
NARROW = (DType.FLOAT32, DType.FLOAT16, DType.BFLOAT16)
"""The dtypes for which float64 is a judge."""
ROUNDERS = frozenset({"Cast", "CastLike", "BitCast", "Spacing", "NextAfter", "Round", "Floor"})
"""Ops whose meaning depends on the precision that they are computed in."""
EPSILON = 2.0**-52
DOUBTS = 4
"""Runs in double precision, each rounded otherwise, that tell how exact it is."""
SLACK = 2.0
"""The ulps that a result may be worse than the original's, beside the ops' own."""


def wrong_step(old: Node, new: Node, soundness: Soundness, values: Values) -> str:
    """What is wrong with `new` in the place of `old`, given values of the graph; "" if nothing."""
    if not isinstance(old.derived_type, TensorType) or not isinstance(new.derived_type, TensorType):
        return ""
    try:
        (was,) = evaluate(values, (old,))
    except GraphoptError:
        return ""  # inside of a body, or the original fails
    try:
        (now,) = evaluate(values, (new,))
    except GraphoptError as error:
        return f"the result fails: {error}"
    wrong = bits_differ(was, now)
    if not wrong or soundness is Soundness.FAST:
        return ""
    if soundness is Soundness.VALUE:  # who applies it has proven that nobody sees the signs
        return bits_differ(*map(without_signs, (was, now)))
    if soundness is not Soundness.ROUNDING:
        return wrong
    return rounded_wrong(old, new, values)


def without_signs(value: Array) -> Array:
    """An array whose zeros are all positive; anything else as it is."""
    floats = is_array(value) and dtype_of(value.dtype).kind in "fc"
    return either(value == 0, np.zeros_like(value), value) if floats else value


def rounded_wrong(old: Node, new: Node, values: Values) -> str:
    """What a rounding rule does beyond rounding."""
    before = set(walk((old,)))
    shared = before & set(walk((new,)))
    shared |= {node for node in before if node.op.name == "Input"}
    was, now = values[old], values[new]
    if was.shape != now.shape or was.dtype != now.dtype:
        return bits_differ(was, now)
    own = [[node for node in walk((root,)) if node not in shared] for root in (old, new)]
    if any(beyond(values[item]) for item in operands(own)):
        return ""
    sums = {item for node in own[0] for item in node.inputs if item in shared and adds_up(item)}
    given = {node: values[node] for node in shared - sums}
    if sums or not all(map(judged_by_double, own[0] + own[1])):
        return Noise((old,), given).explains(0, was, now)
    try:
        ideal = in_double(own[0], given)[old]
    except (GraphoptError, ValueError, TypeError):
        return Noise((old,), given).explains(0, was, now)
    doubt = doubts(own[0], given, ideal)
    units = SLACK + sum(node.op.facts.ulps for node in own[1])
    with np.errstate(all="ignore"):
        a, b = was.astype(np.float64), now.astype(np.float64)
        unit = np.maximum(spacing(ideal.astype(was.dtype)), spacing(was))
        fine = np.abs(b - ideal) <= np.abs(a - ideal) + units * unit + doubt
        nearer = np.isfinite(b) & ~np.isfinite(a) & (np.abs(b - ideal) <= units * unit)
        alike = nearer | same_class(ideal.astype(was.dtype).astype(np.float64), b)
    alike = same_class(a, b) | (alike & (nearer | ~np.isfinite(b)))
    alike |= np.isinf(a) & ~np.isfinite(ideal) & np.isfinite(b)  # double overflows, too
    judged = either(np.isfinite(a) & np.isfinite(b), fine, alike)
    if judged.all():
        return ""
    where = tuple(int(k) for k in np.argwhere(~judged)[0])
    return f"{now[where]!r} instead of {was[where]!r} at {list(where)}, exactly {ideal[where]!r}"


def operands(own: Sequence[Sequence[Node]]) -> set[Node]:
    """What the nodes of both sides take from outside, but for constants."""
    inner = {node for nodes in own for node in nodes}
    taken = {item for node in inner for item in node.inputs} - inner
    return {item for item in taken if item.constant is None and not item.is_absent}


def judged_by_double(node: Node) -> bool:
    """Whether computing a node in double precision says what it should be."""
    if not node.inputs:
        return True
    kinds = [*types_of(node), *(item.derived_type for item in node.inputs)]
    narrow = all(isinstance(kind, TensorType) and kind.dtype in NARROW for kind in kinds)
    return narrow and node.op.facts.elementwise and node.op.name not in ROUNDERS


def doubts(nodes: Sequence[Node], given: Mapping[Node, Array], ideal: Array) -> Array:
    """How far off the last node's value may be as double precision has it.

    log(exp(-40) + 1) is 0 there: a rule that is nearer to the truth is not to blame.
    """
    made = np.zeros_like(ideal)
    for seed in range(DOUBTS):
        noisy = in_double(nodes, given, np.random.default_rng(seed))[nodes[-1]]
        with np.errstate(all="ignore"):
            made = np.fmax(made, np.abs(noisy - ideal))
    return FACTOR * np.where(np.isfinite(made), made, 0.0)


def in_double(
    nodes: Sequence[Node], given: Mapping[Node, Array], rng: np.random.Generator | None = None
) -> Values:
    """The values of element-wise nodes, computed in double precision from those given.

    With `rng` each is off by up to an ulp of that precision.
    """
    values: Values = {node: widened(value) for node, value in given.items()}
    with np.errstate(all="ignore"):
        for node in nodes:
            if node.constant is not None:
                values[node] = widened(node.constant.array)
                continue
            operands = [values[item] for item in node.inputs]
            made = node.op.kernel(NUMPY, *operands, **node.op.arguments(node.attrs))
            values[node] = np.asarray(made, np.float64)
            if rng is not None:
                values[node] *= 1 + rng.uniform(-EPSILON, EPSILON, values[node].shape)
    return values


def widened(value: Array) -> Array:
    """A narrow float in double precision; anything else as it is."""
    narrow = is_array(value) and any(value.dtype == kind.numpy for kind in NARROW)
    return value.astype(np.float64) if narrow else value
