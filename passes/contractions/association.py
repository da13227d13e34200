"""Chains of matrix products in the order that takes the fewest multiplications.

Products of integers wrap around, so that any order gives the same bits. Of floats, another order
has another intermediate result: its sums may cancel or overflow where those before did not.
"""

from __future__ import annotations

from functools import partial, reduce

from graphopt import dims
from graphopt.dims import Size
from graphopt.ir import Node
from graphopt.ops.linalg import matmul
from graphopt.passes.contractions.maps import Uses
from graphopt.rewriting import (
    Declined,
    Equations,
    Float,
    Integer,
    Rule,
    RuleSet,
    Soundness,
    Value,
    rules,
)
from graphopt.rewriting.examples import example

LONGEST = 12
"""How many factors are considered at a time; it takes their number cubed."""
GAIN = 2
"""The other order must take this many times fewer multiplications."""
SUPPOSED = (8, 64, 1024)
"""What sizes that are not known are supposed to be: each must show the gain."""

Tree = int | tuple["Tree", "Tree"]


def factors(root: Node, uses: Uses) -> tuple[list[Node], Tree]:
    """The factors of a chain of products that nothing else uses, and their order so far."""
    found: list[Node] = []

    def walk(node: Node, depth: int) -> Tree:
        inner = node.op is matmul and (node is root or uses(node) == 1)
        if inner and depth < LONGEST and len(found) < LONGEST:
            left = walk(node.inputs[0], depth + 1)
            return (left, walk(node.inputs[1], depth + 1))
        found.append(node)
        return len(found) - 1

    return found, walk(root, 0)


def sizes_of(chain: list[Node]) -> list[Size] | None:
    """The sizes between the factors: factor i has rows sizes[i] and columns sizes[i + 1].

    None unless all are matrices but for a vector at either end and axes before the first's rows.
    """
    shapes = [item.shape for item in chain]
    made: list[Size] = []
    for position, shape in enumerate(shapes):
        if shape is None or len(shape) < 1:
            return None
        first, last = position == 0, position == len(shapes) - 1
        if len(shape) > 2 and not first:
            return None
        if len(shape) == 1 and not (first or last):
            return None
        if first:
            made.append(dims.product(shape[:-1]))
            made.append(shape[-1])
        else:
            made.append(shape[-1] if len(shape) == 2 else 1)
    return made


def cost(tree: Tree, sizes: list[int]) -> int:
    """The multiplications that an order takes."""
    total = 0

    def walk(part: Tree) -> tuple[int, int]:
        nonlocal total
        if isinstance(part, int):
            return part, part + 1
        (begin, middle), (_, end) = walk(part[0]), walk(part[1])
        total += sizes[begin] * sizes[middle] * sizes[end]
        return begin, end

    walk(tree)
    return total


def best(sizes: list[int]) -> Tree:
    """The order of the least cost."""
    count = len(sizes) - 1
    found: dict[tuple[int, int], tuple[int, Tree]] = {(i, i + 1): (0, i) for i in range(count)}
    for length in range(2, count + 1):
        for begin in range(count - length + 1):
            end = begin + length
            options: list[tuple[int, int]] = []
            for middle in range(begin + 1, end):
                own = sizes[begin] * sizes[middle] * sizes[end]
                options.append((found[begin, middle][0] + found[middle, end][0] + own, middle))
            least, middle = min(options)
            found[begin, end] = (least, (found[begin, middle][1], found[middle, end][1]))
    return found[0, count][1]


def supposed(size: Size, number: int) -> int:
    """A size as a number, where each that is not known is `number`."""
    made = dims.substitute(size, lambda _: number)
    return made if isinstance(made, int) else number


def reordered(root: Node, uses: Uses) -> Node | Declined:
    """A chain of products in the best order."""
    chain, tree = factors(root, uses)
    if len(chain) < 3:
        return Declined("an inner product is used elsewhere")
    sizes = sizes_of(chain)
    if sizes is None:
        return Declined("the factors are not all matrices")
    cases = [[supposed(size, number) for size in sizes] for number in SUPPOSED]
    chosen = best(cases[1])
    if not all(0 < GAIN * cost(chosen, case) <= cost(tree, case) for case in cases):
        return Declined("no order takes half as many multiplications")

    def build(part: Tree) -> Node:
        if isinstance(part, int):
            return chain[part]
        made: Node = matmul(build(part[0]), build(part[1]))
        return made

    return build(chosen)


def chained(dtype: str, *shapes: str) -> Node:
    """A product of matrices from left to right, for examples."""
    return reduce(matmul, [example(f"{dtype}[{s}]", f"m{k}") for k, s in enumerate(shapes)])


def _nested(dtype: str, *shapes: str) -> Node:
    """A product of three matrices of which the last two are multiplied first, for examples."""
    a, b, c = (example(f"{dtype}[{s}]", f"m{k}") for k, s in enumerate(shapes))
    made: Node = matmul(a, matmul(b, c))
    return made


def _rules(x: Value, y: Value, z: Value, dtype: str) -> Equations:
    square = ("8, 8", "8, 8", "8, 8")
    yield Rule(
        "left",
        matmul(matmul(x, y), z),
        reordered,
        fires=partial(chained, dtype, "8, 2", "2, 8", "8"),
        misses=partial(chained, dtype, *square),
    )
    yield Rule(
        "right",
        matmul(x, matmul(y, z)),
        reordered,
        fires=partial(_nested, dtype, "8", "8, 2", "2, 8"),
        misses=partial(_nested, dtype, *square),
    )


@rules(Soundness.EXACT)
def association(x: Integer, y: Integer, z: Integer) -> Equations:
    """Products of matrices of integers are made in the cheapest order."""
    yield from _rules(x, y, z, "int32")


@rules(Soundness.FAST)
def float_association(x: Float, y: Float, z: Float) -> Equations:
    """Products of matrices of floats are made in the cheapest order."""
    yield from _rules(x, y, z, "float32")


ASSOCIATION: RuleSet = association + float_association
