"""Einstein sums that are one product of matrices, one transpose or one sum."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphopt.errors import TypeRuleError
from graphopt.ir import Node
from graphopt.ops.arithmetic import mul
from graphopt.ops.einsum import parse
from graphopt.ops.linalg import einsum, gemm, matmul
from graphopt.ops.movement import transpose
from graphopt.ops.reduction import reduce_sum
from graphopt.passes.contractions.gemm_transposes import turned
from graphopt.passes.contractions.maps import Uses
from graphopt.rewriting import (
    Attr,
    Declined,
    Equations,
    Rule,
    RuleSet,
    Soundness,
    Value,
    rules,
)
from graphopt.rewriting.examples import example
from graphopt.structural import constant

DOTS = "0123456789"
"""Letters for the axes that dots stand for, the last the one at the end."""

NO_PRODUCT = Declined("it is not one product of matrices")


def letters(equation: str, operands: Sequence[Node]) -> tuple[list[str], str] | None:
    """The letters of the operands' axes and of the result's, dots spelled out as digits."""
    try:
        found = parse(equation)
    except TypeRuleError:
        return None
    made: list[str] = []
    most = 0
    for term, value in zip(found.inputs, operands, strict=True):
        rest = 0 if value.rank is None else value.rank - len(term.replace(".", ""))
        if value.rank is None or rest > len(DOTS) or len(set(term)) < len(term):
            return None
        most = max(most, rest)
        made.append(term.replace(".", DOTS[len(DOTS) - rest :]))
    return made, found.output.replace(".", DOTS[len(DOTS) - most :])


def one_size(x: Node, y: Node, a: str, b: str) -> bool:
    """Whether letters that both have are proven to be of one size: none is broadcast."""
    first, second = x.shape, y.shape
    if first is None or second is None:
        return False
    sizes = dict(zip(b, second, strict=True))
    return all(sizes.get(c, size) == size for c, size in zip(a, first, strict=True))


def result_of(a: str, b: str) -> str | None:
    """The letters of what MatMul makes of axes `a` and `b`, None where it contracts no letter."""
    if not a or not b or a[-1] != b[max(-2, -len(b))]:
        return None
    left, right = a[:-2], b[:-2]
    if not (left.endswith(right) or right.endswith(left)):
        return None
    return max(left, right, key=len) + a[-2:-1] + (b[-1] if len(b) > 1 else "")


def flip(axes: str) -> str:
    """The letters with the last two swapped."""
    return axes[:-2] + axes[-1] + axes[-2] if len(axes) > 1 else axes


def as_product(x: Node, y: Node, e: str, root: Node, uses: Uses) -> Node | Declined:
    """An Einstein sum of two operands as MatMul, Gemm or Mul."""
    found = letters(e, (x, y))
    if found is None or not (root.dtype.is_float or root.dtype.bits >= 32):
        return NO_PRODUCT
    (a, b), output = found
    if not one_size(x, y, a, b):
        return Declined("an axis may be broadcast")
    made: Node
    if a == b == output:
        made = mul(x, y)
        return made
    for left, right, u, v in ((x, y, a, b), (y, x, b, a)):
        if len(set(u) & set(v) - set(output)) != 1:
            return NO_PRODUCT
        for s, t in ((0, 0), (1, 0), (0, 1), (1, 1)):
            if result_of(flip(u) if s else u, flip(v) if t else v) != output:
                continue
            if len(u) == len(v) == 2:
                made = gemm(left, right, transA=s, transB=t) if s or t else matmul(left, right)
                return made
            first, second = turned(left, uses) if s else left, turned(right, uses) if t else right
            if first is not None and second is not None:
                made = matmul(first, second)
                return made
    return NO_PRODUCT


def as_transpose(x: Node, e: str) -> Node | Declined:
    """An Einstein sum that only permutes axes."""
    found = letters(e, (x,))
    if found is None or sorted(found[0][0]) != sorted(found[1]):
        return Declined("it does not permute axes")
    (a,), output = found
    made: Node = transpose(x, perm=tuple(a.index(c) for c in output))
    return made


def as_sum(x: Node, e: str, root: Node) -> Node | Declined:
    """An Einstein sum that only sums over axes."""
    found = letters(e, (x,))
    if found is None or not (root.dtype.is_float or root.dtype.bits >= 32):
        return Declined("it does not sum over axes")
    (a,), output = found
    axes = [k for k, c in enumerate(a) if c not in output]
    if not axes or "".join(c for c in a if c in output) != output:
        return Declined("it does not sum over axes alone")
    made: Node = reduce_sum(x, constant(np.array(axes, np.int64)), keepdims=0)
    return made


def _pair(equation: str, *shapes: str) -> Node:
    x, y = (example(f"float32[{shape}]", name) for shape, name in zip(shapes, "xy", strict=True))
    made: Node = einsum(x, y, equation=equation)
    return made


@rules(Soundness.ROUNDING)
def einsums(x: Value, y: Value, e: Attr) -> Equations:
    """An Einstein sum that is a product of matrices, a transpose or a sum is written as such."""
    yield Rule(
        "product",
        einsum(x, y, equation=e),
        as_product,
        fires=lambda: _pair("bhqd,bhdk->bhqk", "B, 2, 3, 4", "B, 2, 4, 5"),
        misses=(
            lambda: _pair("bqd,bkd->bqk", "B, 3, 4", "B, 5, 4"),
            lambda: _pair("ij,jk->ik", "3, 1", "4, 5"),
        ),
    )
    yield Rule(
        "transpose",
        einsum(x, equation=e),
        as_transpose,
        fires=lambda: einsum(example("float32[N, 3, 4]"), equation="abc->cab"),
        misses=lambda: einsum(example("float32[3, 3]"), equation="aa->a"),
    )
    yield Rule(
        "sum",
        einsum(x, equation=e),
        as_sum,
        fires=lambda: einsum(example("float32[N, 3, 4]"), equation="abc->b"),
        misses=lambda: einsum(example("float32[N, 3, 4]"), equation="abc->ca"),
    )


EINSUMS: RuleSet = einsums
