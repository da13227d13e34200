"""Rules of blocks of pixels, triangles, reversed sequences: what undoes itself or repeats."""

from __future__ import annotations

from functools import partial
from typing import Any

from graphopt.ir import Node
from graphopt.op import Op
from graphopt.ops.movement import depth_to_space, reverse_sequence, space_to_depth, trilu
from graphopt.passes.movement.positions import numbers_of
from graphopt.rewriting import (
    Attr,
    Declined,
    Equations,
    Maybe,
    Rule,
    Soundness,
    Value,
    rules,
)
from graphopt.rewriting.examples import example, ints


def same_triangle(x: Node, inner: Node, root: Node) -> Node | Declined | None:
    """Two triangles on the same side as the smaller one."""
    upper: list[int] = [node.op.arguments(node.attrs)["upper"] for node in (inner, root)]
    if upper[0] != upper[1]:
        return Declined("they are on different sides of the diagonal")
    first, second = (_diagonal(node) for node in (inner, root))
    if first is None or second is None:
        return Declined("a diagonal is not known")
    narrower = root if (second >= first if upper[0] else second <= first) else inner
    return narrower.with_inputs((x, *narrower.inputs[1:]))


def _diagonal(node: Node) -> int | None:
    if len(node.inputs) < 2 or node.inputs[1].is_absent:
        return 0
    numbers = numbers_of(node.inputs[1])
    return numbers[0] if numbers else None


@rules(Soundness.EXACT)
def blocks(x: Value, k: Maybe, m: Maybe, n: Value, b: Attr, p: Attr, a: Attr, c: Attr,
           inner: Value) -> Equations:  # fmt: skip
    """Blocks made of depth and depth made of them again; a triangle of a triangle."""

    def there_and_back(first: Op, then: Op, kind: str, mode: str = "DCR") -> Node:
        attrs: dict[str, Any] = {"blocksize": 2, "mode": mode}
        made: Node = then(first(example(kind), **attrs), blocksize=2)
        return made

    yield Rule(
        "depth",
        space_to_depth(depth_to_space(x, blocksize=b, mode=p), blocksize=b, mode=p),
        x,
        fires=partial(there_and_back, depth_to_space, space_to_depth, "float32[N, 8, 3, 5]"),
        misses=partial(
            there_and_back, depth_to_space, space_to_depth, "float32[1, 8, 3, 5]", "CRD"
        ),
    )
    yield Rule(
        "space",
        depth_to_space(space_to_depth(x, blocksize=b, mode=p), blocksize=b, mode=p),
        x,
        fires=partial(there_and_back, space_to_depth, depth_to_space, "float32[N, 2, 4, 6]"),
        misses=partial(
            there_and_back, space_to_depth, depth_to_space, "float32[1, 2, 4, 6]", "CRD"
        ),
    )
    yield Rule(
        "triangle",
        trilu(inner.of(trilu(x, k, attrs=a)), m, attrs=c),
        same_triangle,
        fires=lambda: trilu(trilu(example("float32[3, N]"), ints(1), upper=0), upper=0),
        misses=lambda: trilu(trilu(example("float32[3, N]"), ints(1)), upper=0),
    )
    yield Rule(
        "sequences",
        reverse_sequence(reverse_sequence(x, n, attrs=a), n, attrs=a),
        x,
        fires=lambda: _reversed(_reversed(example("float32[4, 2]"))),
        misses=lambda: _reversed(reverse_sequence(example("float32[4, 4]"), ints(2, 3, 4, 1))),
    )


def _reversed(x: Node) -> Node:
    made: Node = reverse_sequence(x, ints(2, 3) if x.shape == (4, 2) else ints(2, 3, 1, 1))
    return made


BLOCKS = blocks
