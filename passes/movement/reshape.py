"""Rules of row-major reshapes: Reshape, Squeeze, Unsqueeze composed, cancelled, made constant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from graphopt import dims
from graphopt.analysis import same_shape
from graphopt.dims import Dim, Size
from graphopt.ir import Node
from graphopt.op import Op
from graphopt.ops.shape import reshape, shape, squeeze, unsqueeze
from graphopt.ops.slicing import concat
from graphopt.rewriting import Attr, Equations, Guard, Rule, Soundness, Value, rules
from graphopt.rewriting.examples import example, ints
from graphopt.structural import constant


def axes_of(value: Node, rank: int | None) -> tuple[int, ...] | None:
    """Constant axes counted from the front, None when they are not known."""
    if value.ints is None or rank is None:
        return None
    return tuple(axis % rank for axis in value.ints) if rank else ()


def unsqueezed_twice(x: Node, i: Node, j: Node, root: Node) -> Node | None:
    """The one Unsqueeze that inserts axes i, then j."""
    if x.rank is None or root.rank is None:
        return None
    inner, outer = axes_of(i, root.inputs[0].rank), axes_of(j, root.rank)
    if inner is None or outer is None:
        return None
    left = [axis for axis in range(root.rank) if axis not in outer]
    merged = sorted([*outer, *(left[axis] for axis in inner)])
    made: Node = unsqueeze(x, constant(np.array(merged, np.int64)))
    return made


@rules(Soundness.EXACT)
def reshapes(x: Value, i: Value, j: Value) -> Equations:
    """Two insertions of axes are one; an insertion and a removal that undo each other are none."""
    f = "float32[2, N, 4]"
    yield Rule(
        "squeeze_unsqueeze",
        squeeze(unsqueeze(x, i), j),
        x,
        when=Guard("the shape stays", same_shape, ("root", "x")),
        fires=lambda: squeeze(unsqueeze(example(f), ints(1)), ints(1)),
        misses=lambda: squeeze(
            unsqueeze(example("float32[1, N]"), ints(2)), example("int64[1]", "axes")
        ),
    )
    yield Rule(
        "unsqueeze_squeeze",
        unsqueeze(squeeze(x, i), j),
        x,
        when=Guard("the shape stays", same_shape, ("root", "x")),
        fires=lambda: unsqueeze(squeeze(example("float32[2, 1, N]"), ints(1)), ints(1)),
        misses=lambda: unsqueeze(
            squeeze(example("float32[2, 1, N]"), ints(1)), example("int64[1]", "axes")
        ),
    )
    yield Rule(
        "unsqueeze_twice",
        unsqueeze(unsqueeze(x, i), j),
        unsqueezed_twice,
        fires=lambda: unsqueeze(unsqueeze(example(f), ints(0)), ints(-1)),
        misses=lambda: unsqueeze(squeeze(example("float32[2, 1, 1]"), ints(1)), ints(0)),
    )


def targets(x: Node, shape: Node, zero_copies: bool) -> tuple[Size, ...] | None:
    """The elements of a Reshape's target, zeros that copy replaced by the sizes of x."""
    known = shape.known
    if known is None or x.shape is None:
        return None
    made: list[Size] = []
    for axis, element in enumerate(known):
        if element is None:
            return None
        if zero_copies and element == 0:
            if axis >= len(x.shape):
                return None
            made.append(x.shape[axis])
        else:
            made.append(element)
    return tuple(made)


def fixed_target(x: Node, sizes: Sequence[Size]) -> tuple[int, ...] | None:
    """A constant Reshape target that means `sizes` for this x, None when there is none.

    A size equal to that of x at the same axis is 0, which copies it. One other may be -1, but only
    where the rest are proven positive: with an empty rest, -1 would have no answer.
    """
    target: list[int] = []
    for axis, size in enumerate(sizes):
        if isinstance(size, int) and size != 0:
            target.append(size)
        elif x.shape is not None and axis < len(x.shape) and x.shape[axis] == size:
            target.append(0)
        elif isinstance(size, Dim) and -1 not in target:
            target.append(-1)
        else:
            return None
    if -1 in target and any(isinstance(size, int) and size < 0 for size in sizes):
        return None
    rest = [size for size, item in zip(sizes, target, strict=True) if item != -1]
    if -1 in target and not all(map(dims.positive, rest)):
        return None
    return tuple(target)


def retarget(x: Node, s: Node, a: Mapping[str, Any], root: Node) -> Node | None:
    """A Reshape whose target is computed, with a constant one."""
    if s.constant is not None or root.shape is None:
        return None
    sizes = targets(x, s, zero_copies=not a.get("allowzero", 0))
    if sizes is not None and -1 in sizes:
        sizes = root.shape
        if any(isinstance(d, Dim) and any(_is_own(i, root) for i in dims.atoms(d)) for d in sizes):
            return None
    target = None if sizes is None else fixed_target(x, sizes)
    return None if target is None else reshape(x, constant(np.array(target, np.int64)))


def _is_own(atom: Any, root: Node) -> bool:
    return isinstance(atom, dims.DimOf) and atom.value is root


def through(x: Node, inner: Node, s: Node, root: Node) -> Node | None:
    """Reshape(f(x), s) as a Reshape of x, where f only reshapes."""
    sizes = s.ints
    if sizes is None or x.shape is None or inner.shape is None:
        return None
    target: list[int] = []
    for axis, size in enumerate(sizes):
        if size != 0:
            target.append(size)
            continue
        copied = inner.shape[axis] if axis < len(inner.shape) else None
        if isinstance(copied, int) and copied > 0:
            target.append(copied)
        elif axis < len(x.shape) and x.shape[axis] == copied:
            target.append(0)
        else:
            return None
    made: Node = reshape(x, constant(np.array(target, np.int64)))
    return made


def _reshaped(op: Op, kind: str, *target: int) -> Node:
    made: Node = reshape(op(example(kind), ints(0)), ints(*target))
    return made


def _target(*sizes: int | str) -> Node:
    """A Reshape target that is computed: numbers, and sizes of other inputs by name."""
    parts = [
        ints(size) if isinstance(size, int) else shape(example(f"float32[{size}]", f"like_{size}"))
        for size in sizes
    ]
    made: Node = concat(*parts, axis=0)
    return made


@rules(Soundness.EXACT)
def reshape_targets(x: Value, s: Value, i: Value, a: Attr) -> Equations:
    """Reshape to a computed shape: constant where the sizes allow; of a reshape: of its operand."""
    yield Rule(
        "constant",
        reshape(x, s, attrs=a),
        retarget,
        fires=lambda: reshape(example("float32[N, 12]"), _target("N", 3, 4)),
        misses=lambda: reshape(example("float32[N, M, 4]"), _target("M", "N", 4)),
    )
    yield Rule(
        "reshape",
        reshape(reshape(x, i, attrs=a), s),
        lambda x, s, root: through(x, root.inputs[0], s, root),
        fires=lambda: reshape(reshape(example("float32[N, 12]"), ints(0, 3, 4)), ints(-1, 4)),
        misses=lambda: reshape(reshape(example("float32[N, 12]"), ints(-1, 4)), ints(0, 2, 2)),
    )
    for op, kind, target in ((squeeze, "float32[1, N, 3]", 0), (unsqueeze, "float32[N, 3]", 3)):
        yield Rule(
            op.name.lower(),
            reshape(op(x, i), s),
            lambda x, s, root: through(x, root.inputs[0], s, root),
            fires=partial(_reshaped, op, "float32[1, 2, 3]", 3, 2),
            misses=partial(_reshaped, op, kind, target, 0),
        )


RESHAPES = reshapes + reshape_targets
