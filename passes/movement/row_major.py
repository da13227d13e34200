"""Rules of whatever only reshapes: one after another, around element-wise nodes and transposes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from graphopt.analysis import same_shape
from graphopt.dims import Size
from graphopt.ir import Node
from graphopt.ops.functions import exp, neg
from graphopt.ops.movement import transpose
from graphopt.ops.shape import flatten, reshape, squeeze, unsqueeze
from graphopt.passes.movement.chains import chain_of, rebuilt
from graphopt.passes.movement.positions import vector
from graphopt.passes.movement.reshape import fixed_target
from graphopt.passes.movement.shapes import permutation
from graphopt.rewriting import (
    Attr,
    Declined,
    Equations,
    Maybe,
    Rule,
    Soundness,
    Value,
    guards,
    rules,
)
from graphopt.rewriting.examples import example, ints

Uses = Callable[[Node], int]
ROW_MAJOR = (reshape, squeeze, unsqueeze, flatten)
"""Ops that keep the elements in their order."""
UNKNOWN = Declined("the new shape cannot be said by a constant")


def relaid(x: Node, root: Node) -> Node | Declined:
    """The elements of x in the shape of `root`, which has them in the same order."""
    if same_shape(x, root):
        return x
    target = None if root.shape is None else fixed_target(x, root.shape)
    if target is None:
        return UNKNOWN
    made: Node = reshape(x, vector(target))
    return made


def at_once(root: Node) -> Node | Declined | None:
    """A reshape of a reshape, or of a transpose that moves axes of size 1 only, as one."""
    inner = root.inputs[0]
    if inner.op in ROW_MAJOR:
        return relaid(inner.inputs[0], root)
    if inner.op is transpose and is_still(inner):
        return relaid(inner.inputs[0], root)
    return None


def around(root: Node, uses: Uses) -> Node | Declined | None:
    """reshape(f(reshape(x))) as f(reshape(x)), f computing element by element."""
    found = chain_of(root.inputs[0], uses)
    if found is None:
        return None
    chain, base = found
    if base.op not in ROW_MAJOR:
        return None
    x = relaid(base.inputs[0], root)
    if isinstance(x, Declined):
        return x
    made = rebuilt(chain, x)
    return made if same_shape(made, root) else Declined("a constant would raise the rank")


def merged(fine: Sequence[Size], coarse: Sequence[Size]) -> list[list[int]] | None:
    """Which neighbouring axes of sizes `fine` each axis of sizes `coarse` is the product of.

    >>> merged([2, 3, 1, 4], [6, 4, 1]), merged([2, 3], [3, 2])
    ([[0, 1, 2], [3], []], None)
    """
    groups: list[list[int]] = []
    at = 0
    for size in coarse:
        group: list[int] = []
        total: Size = 1
        while at < len(fine) and (total != size or fine[at] == 1):
            total = total * fine[at]
            group.append(at)
            at += 1
        if total != size:
            return None
        groups.append(group)
    return groups if at == len(fine) else None


def lifted(x: Node, inner: Node, perm: Sequence[int]) -> tuple[int, ...] | None:
    """The permutation of the axes of x that permutes the axes into which a reshape merges them."""
    if x.shape is None or inner.shape is None:
        return None
    groups = merged(x.shape, inner.shape)
    return None if groups is None else tuple(axis for k in perm for axis in groups[k])


def order_of(node: Node) -> tuple[int, ...] | None:
    """The permutation of a Transpose."""
    return permutation(node.attrs.get("perm"), node.inputs[0])


def transposed(x: Node, perm: Sequence[int]) -> Node:
    """A Transpose; x itself where nothing moves."""
    made: Node = x if list(perm) == sorted(perm) else transpose(x, perm=tuple(perm))
    return made


def reshape_last(root: Node, uses: Uses) -> Node | Declined | None:
    """reshape(transpose(reshape(x))) with one reshape less.

    The first only merges axes (then they are transposed one by one), or the last only splits them
    (then they are split before).
    """
    turned = root.inputs[0]
    if turned.op is not transpose or uses(turned) > 1:
        return None
    inner, perm = turned.inputs[0], order_of(turned)
    if inner.op not in ROW_MAJOR or perm is None:
        return None
    x = inner.inputs[0]
    order = lifted(x, inner, perm)
    if order is None:
        return split_before(root, x, perm)
    return relaid(transposed(x, order), root)


def split_before(root: Node, x: Node, perm: Sequence[int]) -> Node | Declined | None:
    """A reshape of a transpose that only splits axes as a transpose of a reshape of x.

    x has the elements that are transposed, in any shape.
    """
    turned = root.inputs[0]
    if root.shape is None or turned.shape is None:
        return None
    groups = merged(root.shape, turned.shape)
    if groups is None:
        return Declined("axes are both split and merged")
    before = sorted(range(len(perm)), key=lambda k: perm[k])
    order = [axis for k in before for axis in groups[k]]
    target = fixed_target(x, [root.shape[axis] for axis in order])
    if target is None:
        return UNKNOWN
    back = sorted(range(len(order)), key=lambda k: order[k])
    return transposed(reshape(x, vector(target)), back)


def transpose_last(root: Node, uses: Uses) -> Node | Declined | None:
    """transpose(reshape(transpose(x))) with one transpose: axes merged after, or split before."""
    middle = root.inputs[0]
    if middle.op not in ROW_MAJOR or uses(middle) > 1:
        return None
    turned = middle.inputs[0]
    if turned.op is not transpose or uses(turned) > 1:
        return None
    x, first, then = turned.inputs[0], order_of(turned), order_of(root)
    if first is None or then is None:
        return None
    order = lifted(turned, middle, then)
    if order is not None:
        return relaid(transposed(x, [first[axis] for axis in order]), root)
    split = split_before(middle, x, first)
    return transposed(split, then) if isinstance(split, Node) else split


def is_still(node: Node) -> bool:
    """Whether a Transpose moves axes of size 1 only."""
    x, perm = node.inputs[0], order_of(node)
    if perm is None or x.shape is None:
        return False
    moved = [axis for axis in perm if x.shape[axis] != 1]
    return moved == sorted(moved)


def still(x: Node, root: Node) -> Node | Declined | None:
    """A transpose that moves axes of size 1 only, as a reshape."""
    return relaid(x, root) if is_still(root) else Declined("other axes are moved, too")


def _plain(name: str, x: Node) -> Node:
    made: dict[str, Callable[[], Node]] = {
        "reshape": lambda: reshape(x, ints(6, 4)),
        "squeeze": lambda: squeeze(x, ints(0)),
        "unsqueeze": lambda: unsqueeze(x, ints(2)),
        "flatten": lambda: flatten(x),
    }
    return made[name]()


@rules(Soundness.EXACT)
def row_major(x: Value, y: Value, i: Maybe, a: Attr) -> Equations:
    """One reshape after another is one, also with element-wise nodes or transposes between."""
    f = example("float32[1, 6, 2, 2]")
    twice = reshape(f, ints(1, 4, 6))
    lefts = {
        "reshape": reshape(y, i, attrs=a),
        "squeeze": squeeze(y, i),
        "unsqueeze": unsqueeze(y, i),
        "flatten": flatten(y, attrs=a),
    }
    moved = transpose(example("float32[1, 6, 4]"), perm=(1, 0, 2))
    for name, left in lefts.items():
        yield Rule(
            name,
            left,
            at_once,
            fires=partial(_plain, name, moved if name == "reshape" else twice),
            misses=partial(_plain, name, neg(f)),
        )
        yield Rule(
            f"{name}_unary",
            left,
            around,
            worth=guards.used_once("y"),
            fires=partial(_plain, name, exp(neg(twice))),
            misses=partial(_plain, name, neg(f)),
        )


def _heads(*target: int) -> Node:
    """Attention's keys: merged with the batch, transposed, split again."""
    turned = transpose(reshape(example("float32[N, 4, 5, 6]"), ints(-1, 5, 6)), perm=(0, 2, 1))
    made: Node = reshape(turned, ints(*target))
    return made


@rules(Soundness.EXACT)
def around_transposes(x: Value, y: Value, i: Value, p: Attr, a: Attr) -> Equations:
    """Of reshapes around a transpose, or transposes around a reshape, one is enough."""
    yield Rule(
        "reshapes",
        reshape(y, i, attrs=a),
        reshape_last,
        fires=lambda: _heads(-1, 4, 6, 5),
        misses=lambda: reshape(
            transpose(reshape(example("float32[6, 4]"), ints(4, 6)), perm=(1, 0)), ints(3, 8)
        ),
    )
    yield Rule(
        "transposes",
        transpose(y, perm=p),
        transpose_last,
        fires=lambda: transpose(
            reshape(transpose(example("float32[5, 2, N, 3]"), perm=(0, 2, 1, 3)), ints(0, 0, -1)),
            perm=(1, 0, 2),
        ),
        misses=lambda: transpose(
            reshape(transpose(example("float32[4, 6]"), perm=(1, 0)), ints(3, 8)), perm=(1, 0)
        ),
    )


@rules(Soundness.EXACT)
def still_transposes(x: Value, p: Attr) -> Equations:
    """A transpose that moves axes of size 1 only is a reshape."""
    yield Rule(
        "transpose",
        transpose(x, perm=p),
        still,
        fires=lambda: transpose(example("float32[N, 1, 3]"), perm=(1, 0, 2)),
        misses=lambda: transpose(example("float32[2, 1, 3]"), perm=(2, 1, 0)),
    )


ROW_MAJORS = row_major + around_transposes
STILL_TRANSPOSES = still_transposes
"""Apart: a transpose that is a reshape no longer meets the others."""
