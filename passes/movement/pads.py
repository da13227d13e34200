"""Rules of pads: composed, taken for slices, taken into the pooling after them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphopt.dims import positive
from graphopt.ir import Node
from graphopt.op import Op
from graphopt.ops.padding import pad
from graphopt.ops.pool import average_pool, max_pool
from graphopt.passes.movement.positions import END, Span, numbers_of, sliced, vector
from graphopt.ranges import facts_of
from graphopt.rewriting import (
    Attr,
    Declined,
    Equations,
    Guard,
    Maybe,
    Rule,
    Soundness,
    Value,
    rules,
)
from graphopt.rewriting.examples import example, filled, ints
from graphopt.rewriting.pattern import is_filled_with
from graphopt.structural import absent

Widths = Mapping[int, tuple[int, int]]
"""What is added before and after each axis; below 0 what is removed."""


def operands(node: Node, count: int) -> tuple[Node, ...]:
    """The first `count` inputs of a node, those left out at the end absent."""
    return (*node.inputs, *(absent,) * count)[:count]


def widths_of(node: Node) -> Widths | None:
    """What a Pad adds to each axis, those left alone left out; None where that is not known."""
    data, pads, _, axes = operands(node, 4)
    numbers = numbers_of(pads)
    if numbers is None or data.rank is None:
        return None
    count = len(numbers) // 2
    where = range(data.rank) if axes.is_absent else numbers_of(axes)
    if where is None:
        return None
    rows = zip(where, numbers[:count], numbers[count:], strict=True)
    return {axis % data.rank: (b, a) for axis, b, a in rows if b or a}


def padded(x: Node, widths: Widths, value: Node | None, **attrs: Any) -> Node:
    """x padded, for all of its axes; x itself where nothing is added."""
    if not any(map(any, widths.values())):
        return x
    pairs = [widths.get(axis, (0, 0)) for axis in range(x.rank or 0)]
    numbers = [before for before, _ in pairs] + [behind for _, behind in pairs]
    made: Node = pad(x, vector(numbers), value, **attrs)
    return made


def same_filler(a: Node, b: Node) -> bool:
    """Whether two Pads fill in the same: one value, or 0, which is the default."""
    first, second = operands(a, 3)[2], operands(b, 3)[2]
    if first is second or all(map(_zero, (first, second))):
        return True
    held = first.constant, second.constant
    if held[0] is None or held[1] is None or held[0].size != 1 or held[1].size != 1:
        return False
    return bool(held[0].element.tobytes() == held[1].element.tobytes())


def _zero(value: Node) -> bool:
    return value.is_absent or is_filled_with(value, 0.0)


def both(inner: Node, root: Node) -> Node | Declined | None:
    """Two pads of the same value as one."""
    first, second = widths_of(inner), widths_of(root)
    if first is None or second is None:
        return Declined("the pads are not known")
    if not same_filler(inner, root):
        return Declined("they do not fill in the same")
    if any(number < 0 for pair in (*first.values(), *second.values()) for number in pair):
        return Declined("elements are removed")
    none = (0, 0)
    pairs = {axis: (first.get(axis, none), second.get(axis, none)) for axis in {**first, **second}}
    summed = {axis: (a + c, b + d) for axis, ((a, b), (c, d)) in pairs.items()}
    value = operands(root, 3)[2]
    return padded(inner.inputs[0], summed, None if value.is_absent else value)


def as_slice(x: Node, root: Node) -> Node | None:
    """A Pad that only removes, as a Slice."""
    widths = widths_of(root)
    if not widths or any(number > 0 for pair in widths.values() for number in pair):
        return None
    ends = {axis: Span(-b, e if e else END) for axis, (b, e) in widths.items()}
    return sliced(x, ends)


@rules(Soundness.EXACT)
def pads(x: Value, p: Value, q: Value, v: Maybe, w: Maybe, i: Maybe, j: Maybe, inner: Value,
         a: Attr) -> Equations:  # fmt: skip
    """Two pads with the same are one; a pad that only removes is a slice."""
    f = "float32[2, N]"
    yield Rule(
        "pad",
        pad(inner.of(pad(x, p, v, i)), q, w, j),
        both,
        fires=lambda: pad(pad(example(f), ints(1, 0, 0, 2)), ints(3, 1), filled(0.0), ints(1)),
        misses=lambda: pad(pad(example(f), ints(1, 0, 0, 2)), ints(3, 1), filled(1.0), ints(1)),
    )
    yield Rule(
        "slice",
        pad(x, p, v, i, attrs=a),
        as_slice,
        fires=lambda: pad(example("float32[4, 9]"), ints(0, -1, -2, 0)),
        misses=lambda: pad(example("float32[4, 9]"), ints(1, -1, -2, 0)),
    )


def into_pool(op: Op, root: Node, a: Mapping[str, Any]) -> Node | Declined | None:
    """A pooling over a Pad of its spatial axes, its own pads larger."""
    before = root.inputs[0]
    widths, x = widths_of(before), before.inputs[0]
    if widths is None or x.rank is None or x.rank < 3:
        return Declined("the pads are not known")
    if any(axis < 2 or min(pair) < 0 for axis, pair in widths.items()):
        return Declined("channels are added, or positions removed")
    arguments = op.arguments(root.attrs)
    if arguments["auto_pad"] != "NOTSET" or arguments["ceil_mode"] or root.attrs.get("outputs"):
        return Declined("the pooling's own pads are not explicit, or its size is rounded up")
    spatial = x.rank - 2
    own = arguments["pads"] or (0,) * (2 * spatial)
    added = [widths.get(axis + 2, (0, 0)) for axis in range(spatial)]
    total = [own[k] + added[k][0] for k in range(spatial)]
    total += [own[k + spatial] + added[k][1] for k in range(spatial)]
    kernel = arguments["kernel_shape"]
    if any(number >= kernel[k % spatial] for k, number in enumerate(total)):
        return Declined("the pads are not smaller than the window")
    made: Node = op(x, **{**a, "pads": tuple(total)})
    return made


def _least(before: Node, a: Mapping[str, Any]) -> bool:
    """Whether what a Pad fills in is never greater than what else a window sees."""
    x, value = before.inputs[0], operands(before, 3)[2]
    dilations = a.get("dilations") or (1,)
    if is_filled_with(value, float("-inf")):
        return True
    facts = facts_of(x)
    zeros = _zero(value) and facts.non_negative and not facts.may_be_negative_zero
    seen = x.shape is not None and all(map(positive, x.shape)) and set(dilations) == {1}
    return zeros and seen


def _pooled(op: Op, value: float, **attrs: Any) -> Node:
    x = pad(example("float32[1, 2, 8, 5]"), ints(0, 0, 1, 0, 0, 0, 1, 0), filled(value))
    made: Node = op(x, kernel_shape=(3, 2), **attrs)
    return made


@rules(Soundness.EXACT)
def pad_pool(before: Value, x: Value, p: Value, i: Maybe, v: Maybe, a: Attr) -> Equations:
    """max(pad(x, -inf)) and mean(pad(x, 0)) over windows, which pad themselves."""
    yield Rule(
        "max",
        max_pool(before.of(pad(x, p, v, i)), attrs=a),
        lambda root, a: into_pool(max_pool, root, a),
        when=Guard("what is filled in is never the greatest", _least),
        fires=lambda: _pooled(max_pool, float("-inf"), pads=(0, 1, 0, 1)),
        misses=lambda: _pooled(max_pool, 0.0),
    )
    yield Rule(
        "average",
        average_pool(before.of(pad(x, p, v, i)), attrs=a),
        lambda root, a: into_pool(average_pool, root, a),
        when=(
            Guard("zeros are filled in", lambda v: _zero(v)),
            Guard("what is padded counts", lambda a: a.get("count_include_pad", 0) == 1),
        ),
        fires=lambda: _pooled(average_pool, 0.0, count_include_pad=1),
        misses=(
            lambda: _pooled(average_pool, 1.0, count_include_pad=1),
            lambda: _pooled(average_pool, 0.0),
        ),
    )


PADS = pads + pad_pool
