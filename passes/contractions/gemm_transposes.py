"""Transposes before and behind products of matrices."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from graphopt.ir import Node
from graphopt.ops.linalg import gemm, matmul
from graphopt.ops.movement import transpose
from graphopt.passes.contractions.maps import GROWS, Uses, grows
from graphopt.rewriting import (
    Attr,
    Declined,
    Equations,
    Maybe,
    MaybeConst,
    Rule,
    RuleSet,
    Soundness,
    Value,
    guards,
    rules,
)
from graphopt.rewriting.examples import example, weights
from graphopt.structural import constant
from graphopt.tensor import Tensor

NO_MATRICES = Declined("not both are matrices")


def turned(value: Node, uses: Uses) -> Node | None:
    """The value with its last two axes swapped, where that takes a transpose away."""
    if value.op is transpose and swaps(value):
        return value.inputs[0]
    held = value.constant
    if held is None or len(held.shape) < 2 or (uses(value) > 1 and not held.is_splat):
        return None
    if held.is_splat:
        shape = (*held.shape[:-2], held.shape[-1], held.shape[-2])
        return constant(Tensor.splat(held.dtype, shape, held.element))
    return constant(Tensor.of(np.ascontiguousarray(np.swapaxes(held.array, -1, -2)), held.dtype))


def swaps(value: Node) -> bool:
    """Whether a transpose swaps the last two axes."""
    perm, rank = value.attrs.get("perm"), value.rank
    if rank is None or rank < 2:
        return False
    order = tuple(perm) if perm is not None else tuple(reversed(range(rank)))
    return order == (*range(rank - 2), rank - 1, rank - 2)


def turned_product(inner: Node, x: Node, y: Node, root: Node, uses: Uses) -> Node | Declined:
    """(x @ y)' = y' @ x', as a product of what the transposes were made of, or as a Gemm."""
    if not swaps(root):
        return Declined("the last two axes are not swapped")
    if x.rank is None or y.rank is None or min(x.rank, y.rank) < 2:
        return NO_MATRICES
    found: dict[Node, Node] = {}
    for item in sorted((x, y), key=lambda item: item.constant is not None):  # those cost a copy
        if (swapped := turned(item, uses)) is None:
            break
        found[item] = swapped
    made: Node
    if len(found) == len({x, y}):
        made = matmul(found[y], found[x])
    elif x.rank == y.rank == 2:
        made = gemm(y, x, transA=1, transB=1)
    else:
        return Declined("it would take another transpose")
    return made


def turned_gemm(
    x: Node, y: Node, k: Node, s: int, t: int, a: dict[str, object], root: Node, uses: Uses
) -> Node | Declined:
    """A transposed Gemm as one of its operands in the other order."""
    if not swaps(root):
        return Declined("the last two axes are not swapped")
    bias: Node | None = None
    if (held := k.constant) is not None:
        matrix = np.atleast_2d(held.array)
        bias = constant(Tensor.of(np.ascontiguousarray(matrix.T), held.dtype).compact())
        if grows([bias], [k], uses):
            return GROWS
    made: Node = gemm(y, x, bias, transA=1 - t, transB=1 - s, **a)
    return made


def turned_operand(position: int, flag: str) -> Callable[[Node], Node | Declined]:
    """The right side that takes a transposed operand of a product as a Gemm's flag."""

    def right(root: Node) -> Node | Declined:
        operand = root.inputs[position]
        others = [None if item.is_absent else item for item in root.inputs]
        if not all(item is not None and item.rank == 2 for item in others[:2]):
            return NO_MATRICES
        if not swaps(operand):
            return Declined("the last two axes are not swapped")
        others[position] = operand.inputs[0]
        attrs = {**root.attrs, flag: 1 - root.attrs.get(flag, 0)}
        made: Node = gemm(*others, **attrs)
        return made

    return right


def flipped(name: str = "x", shape: str = "3, N") -> Node:
    """A transposed matrix, for examples."""
    made: Node = transpose(example(f"float32[{shape}]", name), perm=(1, 0))
    return made


def kept(name: str, shape: str) -> Node:
    """A transpose of batches of matrices, for examples: a Gemm has no flag for it."""
    made: Node = transpose(example(f"float32[2, {shape}]", name), perm=(0, 2, 1))
    return made


def _row() -> Node:
    return example("float32[4]", "b")


@rules(Soundness.ROUNDING)
def gemm_transposes(
    x: Value, y: Value, c: Maybe, k: MaybeConst, inner: Value, p: Attr, s: Attr, t: Attr, a: Attr
) -> Equations:
    """A transpose before or behind a product of matrices is a flag or swaps its operands."""
    worth = guards.used_once("inner")
    yield Rule(
        "product",
        transpose(inner.of(matmul(x, y)), perm=p),
        turned_product,
        worth=worth,
        fires=lambda: transpose(matmul(kept("x", "3, N"), kept("w", "4, 3")), perm=(0, 2, 1)),
        misses=lambda: transpose(matmul(kept("x", "3, N"), kept("w", "4, 3")), perm=(1, 0, 2)),
    )
    yield Rule(
        "gemm",
        transpose(inner.of(gemm(x, y, k, transA=s, transB=t, attrs=a)), perm=p),
        turned_gemm,
        worth=worth,
        fires=lambda: transpose(
            gemm(example("float32[N, 3]"), weights(4, 3), weights(4), transB=1)
        ),
        misses=lambda: transpose(gemm(example("float32[N, 3]"), weights(4, 3), _row(), transB=1)),
    )
    left, right = inner.of(transpose(x, perm=p)), inner.of(transpose(y, perm=p))
    for name, pattern, place, fires, misses in (
        ("matmul_left", matmul(left, y), 0,
         lambda: matmul(flipped(), example("float32[3, 4]", "w")),
         lambda: matmul(kept("x", "3, N"), example("float32[3, 4]", "w"))),
        ("matmul_right", matmul(x, right), 1,
         lambda: matmul(example("float32[N, 3]"), flipped("w", "4, 3")),
         lambda: matmul(example("float32[N, 3]"), kept("w", "4, 3"))),
        ("gemm_left", gemm(left, y, c, attrs=a), 0,
         lambda: gemm(flipped("x", "N, 3"), weights(3, 4), _row(), transA=1),
         lambda: gemm(example("float32[3, N]"), weights(3, 4), _row(), transA=1)),
        ("gemm_right", gemm(x, right, c, attrs=a), 1,
         lambda: gemm(example("float32[N, 3]"), flipped("w", "4, 3"), _row(), alpha=2),
         lambda: gemm(example("float32[N, 3]"), weights(3, 4), _row(), alpha=2)),
    ):  # fmt: skip
        turn = turned_operand(place, ("transA", "transB")[place])
        yield Rule(name, pattern, turn, worth=worth, fires=fires, misses=misses)


GEMM_TRANSPOSES: RuleSet = gemm_transposes
