"""Choices of an If between few elements that are there already: made by a Where."""

from __future__ import annotations

from math import prod

from graphopt.body import Body
from graphopt.ir import Node, walk
from graphopt.ops.control import if_
from graphopt.ops.functions import neg
from graphopt.ops.logic import where
from graphopt.passes.branches.control import Values, branches, of_outputs, rebuilt_if
from graphopt.rewriting import Attr, Boolean, Declined, Equations, Many, Soundness, Value, rules
from graphopt.rewriting.examples import example
from graphopt.structural import out_op
from graphopt.types import TensorType

MOST = 64
"""Elements that are copied sooner than a branch is taken."""


def few(value: Node) -> bool:
    """Whether a value is a tensor of numbers or bools with few elements, and known sizes."""
    kind = value.derived_type
    if not isinstance(kind, TensorType) or kind.shape is None or kind.dtype.kind not in "biuf":
        return False
    sizes = [size for size in kind.shape if isinstance(size, int)]
    return len(sizes) == len(kind.shape) and prod(sizes) <= MOST


def selected(node: Node) -> Values | Declined:
    """What a Where chooses of what the branches return, which they do not compute."""
    p, *captures = node.inputs
    bodies = branches(node)
    inner = walk((*bodies[0].outputs, *bodies[1].outputs))
    if p.rank != 0 or any(item.inputs for item in inner):
        return Declined("a branch computes something, or the predicate has axes")
    one, other = (body.open(captures)[1] for body in bodies)
    pairs = list(zip(one, other, strict=True))
    if not all(few(x) and x.derived_type == y.derived_type for x, y in pairs):
        return Declined("what is chosen are not few elements of one type")
    return [where(p, x, y) for x, y in pairs]


def _captured(outputs: int, work: bool = False) -> Node:
    x, y = example("float32[3]", "x"), example("float32[3]", "y")
    one = Body.close((), (x, y), (y, x)[-outputs:])
    other = Body.close((), (x, y), (x, neg(y) if work else y)[-outputs:])
    return rebuilt_if(example("bool[]", "p"), (x, y), (one, other))


@rules(Soundness.EXACT)
def selected_values(p: Boolean, c: Many, a: Attr, i: Attr, node: Value) -> Equations:
    """if p then x else y = where(p, x, y), of few elements"""
    yield from of_outputs(
        if_(p, c, attrs=a),
        out_op(node.of(if_(p, c, attrs=a)), index=i),
        selected,
        when=None,
        fires=_captured,
        misses=lambda outputs: _captured(outputs, work=True),
    )


SELECTED = selected_values
