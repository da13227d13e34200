"""Padding before convolutions and pooling, as what they pad themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from graphopt.ir import Node
from graphopt.ops.activation import relu
from graphopt.ops.arithmetic import add
from graphopt.ops.conv import conv
from graphopt.ops.functions import neg, sqrt
from graphopt.ops.padding import pad
from graphopt.ops.pool import average_pool, max_pool
from graphopt.rewriting import (
    Attr,
    Const,
    Declined,
    Equations,
    Maybe,
    Rule,
    RuleSet,
    Soundness,
    Value,
    guards,
    rules,
)
from graphopt.rewriting.examples import example, filled, ints, weights

Attributes = dict[str, Any]


def widths(x: Node, p: Node, t: Node) -> tuple[int, ...] | None:
    """A Pad's numbers as the attribute `pads` of what slides over the axes behind the second.

    None when they are not known, negative, or pad one of the first two.
    """
    rank, numbers = x.rank, p.ints
    if rank is None or rank < 3 or numbers is None:
        return None
    axes = tuple(range(rank)) if t.is_absent else t.ints
    if axes is None or len(numbers) != 2 * len(axes):
        return None
    begins, ends = [0] * rank, [0] * rank
    for k, axis in enumerate(axes):
        begins[axis], ends[axis] = numbers[k], numbers[k + len(axes)]
    if min(begins + ends) < 0 or any(begins[:2] + ends[:2]):
        return None
    return (*begins[2:], *ends[2:])


def joined(pads: Sequence[int], a: Attributes) -> tuple[int, ...] | None:
    """Two paddings as one; None where the second follows from the size."""
    if a.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return None
    given = a.get("pads") if a.get("auto_pad", "NOTSET") == "NOTSET" else None
    return tuple(p + q for p, q in zip(pads, given or (0,) * len(pads), strict=True))


PADS = Declined("the padding is not known, or not of spatial axes alone")
MODE = Declined("it is padded by other numbers, or by what follows from its size")


def padded(root: Node, x: Node, p: Node, t: Node, a: Attributes) -> Node | Declined:
    """A convolution of a padded value as one that pads."""
    found = widths(x, p, t)
    pads = None if found is None else joined(found, a)
    if pads is None:
        return PADS
    attrs = {**a, "pads": pads, "auto_pad": "NOTSET"}
    others = [None if item.is_absent else item for item in root.inputs[1:]]
    made: Node = root.op(x, *others, **attrs)
    return made


def _fits(pads: Sequence[int], a: Attributes) -> bool:
    """Whether every window sees an element: a part of it reaches in, and it has no holes."""
    kernel: tuple[int, ...] = a["kernel_shape"]
    holes = a.get("dilations") or (1,) * len(kernel)
    return all(width < kernel[k % len(kernel)] for k, width in enumerate(pads)) and set(holes) == {
        1
    }


def padded_mean(root: Node, x: Node, p: Node, t: Node, a: Attributes) -> Node | Declined:
    """A mean over windows of a value padded with zeros as one that counts padding."""
    found = widths(x, p, t)
    pads = None if found is None else joined(found, a)
    if pads is None:
        return PADS
    own = any(a.get("pads") or ())
    if (own and not a.get("count_include_pad")) or a.get("ceil_mode") or not _fits(pads, a):
        return MODE
    attrs = {**a, "pads": pads, "auto_pad": "NOTSET", "count_include_pad": 1}
    made: Node = average_pool(x, **attrs)
    return made


def padded_max(root: Node, x: Node, p: Node, t: Node, a: Attributes) -> Node | Declined:
    """A maximum over windows of a padded value as one that pads with the least element."""
    found = widths(x, p, t)
    pads = None if found is None else joined(found, a)
    if pads is None:
        return PADS
    if a.get("outputs", 1) != 1 or a.get("ceil_mode") or not _fits(pads, a):
        return MODE
    made: Node = max_pool(x, **{**a, "pads": pads, "auto_pad": "NOTSET"})
    return made


IMAGE, BORDER = "float32[N, 2, 5, 5]", (0, 0, 1, 1, 0, 0, 1, 0)
PADS_ONE = ints(*BORDER)


def _image() -> Node:
    return example(IMAGE)


def _padded_conv(border: tuple[int, ...], *value: Node, channels: int = 2) -> Node:
    made: Node = conv(pad(_image(), ints(*border), *value), weights(3, channels, 2, 3))
    return made


def _mean(pads: tuple[int, ...], *value: Node) -> Node:
    made: Node = average_pool(pad(_image(), PADS_ONE, *value), kernel_shape=(2, 2), pads=pads)
    return made


def _greatest(x: Callable[[], Node], *value: Node) -> Node:
    made: Node = max_pool(pad(x(), PADS_ONE, *value), kernel_shape=(2, 2))
    return made


def _positive() -> Node:
    made: Node = relu(_image())
    return made


def _negative() -> Node:
    made: Node = neg(add(_positive(), filled(1.0)))
    return made


def _rooted() -> Node:
    """Never negative, but perhaps -0.0."""
    made: Node = sqrt(_image())
    return made


@rules(Soundness.EXACT)
def paddings(x: Value, w: Value, b: Maybe, p: Const, v: Value, t: Maybe, a: Attr) -> Equations:
    """A Pad before a convolution or a pooling is its attribute `pads`."""
    for name, value, short in (("", None, ()), ("_zero", 0.0, (filled(0.0),))):
        yield Rule(
            f"conv{name}",
            conv(pad(x, p, value, t), w, b, attrs=a),
            padded,
            fires=partial(_padded_conv, BORDER, *short),
            misses=partial(_padded_conv, (0, 1, 1, 1, 0, 0, 1, 0), *short, channels=3),
        )
        yield Rule(
            f"mean{name}",
            average_pool(pad(x, p, value, t), attrs=a),
            padded_mean,
            fires=partial(_mean, (0, 0, 0, 0), *short),
            misses=partial(_mean, (1, 1, 0, 0), *short),
        )
        # Zeros never win against elements that are not negative, and each window sees an element.
        yield Rule(
            f"max{name}",
            max_pool(pad(x, p, value, t), attrs=a),
            padded_max,
            when=(guards.non_negative("x"), guards.never_negative_zero("x")),
            fires=partial(_greatest, _positive, *short),
            misses=(
                partial(_greatest, _negative, *short),
                partial(_greatest, _rooted, *short),
            ),
        )


WINDOWS: RuleSet = paddings
