"""Element-wise functions of complex numbers as graphs of ops, by the ufuncs' names."""

from __future__ import annotations

from graphopt.frontends.trace.library import nodes
from graphopt.frontends.trace.library.forms import Form, is_finite, on_truth, plain, same
from graphopt.frontends.trace.library.nodes import apply
from graphopt.ir import Node
from graphopt.op import Op
from graphopt.ops import complexes, logic


def by_parts(form: Form, joined: Op) -> Form:
    """A test of complex numbers: a test of their parts, joined by an op."""

    def of_parts(x: Node) -> Node:
        return apply(joined, form(apply(complexes.real, x)), form(apply(complexes.imag, x)))

    return of_parts


def with_matmul(product: Op) -> dict[str, Form]:
    """The products of matrices and vectors of complex numbers; vecdot conjugates its first."""

    def dot(x: Node, y: Node) -> Node:
        row = nodes.unsqueeze(apply(complexes.conjugate, x), [-2])
        return nodes.squeeze(apply(product, row, nodes.unsqueeze(y, [-1])), [-2, -1])

    def column(x: Node, y: Node) -> Node:
        return nodes.squeeze(apply(product, x, nodes.unsqueeze(y, [-1])), [-1])

    return {"matmul": plain(product), "matvec": column, "vecdot": dot}


def unequal(x: Node, y: Node) -> Node:
    """Whether a part differs."""
    return apply(logic.not_, apply(complexes.equal, x, y))


def squared(x: Node) -> Node:
    """x * x."""
    return apply(complexes.multiply, x, x)


COMPLEX_FORMS: dict[str, Form] = {
    "absolute": plain(complexes.magnitude),
    "add": plain(complexes.add),
    "conjugate": plain(complexes.conjugate),
    "cos": plain(complexes.cos),
    "divide": plain(complexes.divide),
    "equal": plain(complexes.equal),
    "exp": plain(complexes.exp),
    "isfinite": by_parts(is_finite, logic.and_),
    "isinf": by_parts(plain(logic.is_inf), logic.or_),
    "isnan": by_parts(plain(logic.is_nan), logic.or_),
    "log": plain(complexes.log),
    "logical_and": on_truth(logic.and_),
    "logical_not": on_truth(logic.not_),
    "logical_or": on_truth(logic.or_),
    "logical_xor": on_truth(logic.xor),
    "multiply": plain(complexes.multiply),
    "negative": plain(complexes.negate),
    "not_equal": unequal,
    "positive": same,
    "power": plain(complexes.power),
    "sin": plain(complexes.sin),
    "sqrt": plain(complexes.sqrt),
    "square": squared,
    "subtract": plain(complexes.subtract),
    "tanh": plain(complexes.tanh),
    **with_matmul(complexes.matmul),
}
"""The form of every ufunc that the graph can say of complex numbers."""
