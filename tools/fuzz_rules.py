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
from graphopt.types import DType, TensorType
from tools.fuzz_compare import Noise, bits_differ, either, evaluate, is_array, same_class, spacing
from tools.fuzz_values import Values

Array = Any
NARROW = (DType.FLOAT32, DType.FLOAT16, DType.BFLOAT16)
"""The dtypes for which float64 is a judge."""
ROUNDERS = frozenset({"Cast", "CastLike", "BitCast", "Spacing", "NextAfter", "Round", "Floor"})
"""Ops whose meaning depends on the precision that they are computed in."""
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
    if soundness is not Soundness.ROUNDING:
        return wrong
    return rounded_wrong(old, new, values)


def rounded_wrong(old: Node, new: Node, values: Values) -> str:
    """What a rounding rule does beyond rounding."""
    shared = set(walk((old,))) & set(walk((new,)))
    was, now = values[old], values[new]
    if was.shape != now.shape or was.dtype != now.dtype:
        return bits_differ(was, now)
    own = [[node for node in walk((root,)) if node not in shared] for root in (old, new)]
    sums = {item for node in own[0] for item in node.inputs if item in shared and adds_up(item)}
    given = {node: values[node] for node in shared - sums}
    if sums or not all(map(judged_by_double, own[0] + own[1])):
        return Noise((old,), given).explains(0, was, now)
    try:
        ideal = in_double(own[0], given)[old]
    except (GraphoptError, ValueError, TypeError):
        return Noise((old,), given).explains(0, was, now)
    units = SLACK + sum(node.op.facts.ulps for node in own[1])
    with np.errstate(all="ignore"):
        a, b = was.astype(np.float64), now.astype(np.float64)
        unit = np.maximum(spacing(ideal.astype(was.dtype)), spacing(was))
        fine = np.abs(b - ideal) <= np.abs(a - ideal) + units * unit
        nearer = np.isfinite(b) & ~np.isfinite(a) & (np.abs(b - ideal) <= units * unit)
        alike = nearer | same_class(ideal.astype(was.dtype).astype(np.float64), b)
    alike = same_class(a, b) | (alike & (nearer | ~np.isfinite(b)))
    judged = either(np.isfinite(a) & np.isfinite(b), fine, alike)
    if judged.all():
        return ""
    where = tuple(int(k) for k in np.argwhere(~judged)[0])
    return f"{now[where]!r} instead of {was[where]!r} at {list(where)}, exactly {ideal[where]!r}"


def adds_up(node: Node) -> bool:
    """Whether a value has an error of its own: what is added to it is one more term of a sum."""
    facts = node.op.facts
    return bool(node.inputs) and not facts.elementwise and not facts.moves


def judged_by_double(node: Node) -> bool:
    """Whether computing a node in double precision says what it should be."""
    if not node.inputs:
        return True
    kinds = [*types_of(node), *(item.derived_type for item in node.inputs)]
    narrow = all(isinstance(kind, TensorType) and kind.dtype in NARROW for kind in kinds)
    return narrow and node.op.facts.elementwise and node.op.name not in ROUNDERS


def in_double(nodes: Sequence[Node], given: Mapping[Node, Array]) -> Values:
    """The values of element-wise nodes, computed in double precision from those given."""
    values: Values = {node: widened(value) for node, value in given.items()}
    with np.errstate(all="ignore"):
        for node in nodes:
            if node.constant is not None:
                values[node] = widened(node.constant.array)
                continue
            operands = [values[item] for item in node.inputs]
            made = node.op.kernel(NUMPY, *operands, **node.op.arguments(node.attrs))
            values[node] = np.asarray(made, np.float64)
    return values


def widened(value: Array) -> Array:
    """A narrow float in double precision; anything else as it is."""
    narrow = is_array(value) and any(value.dtype == kind.numpy for kind in NARROW)
    return value.astype(np.float64) if narrow else value
