"""Forms in ONNX's own ops of what NumPy has and ONNX lacks.

    expressed(graph)

gives the graph that is written in place of one with ops of the domain `graphopt`. `FORMS` is the
table: by an op's name a function of its inputs and attributes that gives its value, or a tuple of
its values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from graphopt.body import all_nodes
from graphopt.frontends.onnx.forms import complexes, elementary, images, integers, search
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.op import Op
from graphopt.ops.channels_last_table import LAST
from graphopt.rewriting.sweep import Sweep
from graphopt.types import TensorType

FORMS: Mapping[str, Callable[..., Any]] = {
    "Atan2": elementary.atan2,
    "BitCount": integers.bit_count,
    "Cbrt": elementary.cbrt,
    "ComplexAbs": complexes.magnitude,
    "ComplexEqual": complexes.both_equal,
    "CopySign": elementary.copy_sign,
    "Exp2": elementary.exp2,
    "Expm1": elementary.expm1,
    "FloorDivide": integers.floor_divide,
    "Fmod": integers.fmod,
    "Frexp": elementary.frexp,
    "GCD": integers.gcd,
    "Hypot": elementary.hypot,
    "ImagPart": complexes.imag,
    "IntegerPower": integers.integer_power,
    "LCM": integers.lcm,
    "Ldexp": elementary.ldexp,
    "Log10": elementary.logarithm(10),
    "Log1p": elementary.log1p,
    "Log2": elementary.logarithm(2),
    "LogAddExp": elementary.log_add_exp,
    "LogAddExp2": elementary.log_add_exp2,
    "NextAfter": elementary.next_after,
    "RealPart": complexes.real,
    "Remainder": integers.remainder,
    "SearchSorted": search.search_sorted,
    "Spacing": elementary.spacing,
    **{last.name: images.between_transposes(first) for first, last in LAST.items()},
}
"""The form of every op of the domain `graphopt` that ai.onnx can say."""


def expressed(graph: Graph) -> Graph:
    """The graph with every op that has a form written by it; itself where there is none."""
    if not any(_form_of(node) for node in all_nodes(graph.roots)):
        return graph
    sweep = Sweep(_rewritten)
    roots = sweep.run(graph.roots)
    return graph.with_outputs(roots, {**graph.tables.derivations, **sweep.derivations})


def _form_of(node: Node) -> Callable[..., Any] | None:
    if node.op.domain == "graphopt":
        return FORMS.get(node.op.name)
    if node.op.key == ("", "Mod") and not node.attrs.get("fmod"):
        kind = node.derived_type
        if isinstance(kind, TensorType) and kind.dtype.kind == "f":
            return integers.remainder  # ONNX has it of integers alone
    return None


def _rewritten(node: Node) -> tuple[Node, str] | None:
    """The value of a node's form; of one with several outputs, each output is replaced."""
    source, index = node, -1
    if node.op.key == ("graphopt", "Out"):
        source, index = node.inputs[0], node.attrs["index"]
    elif "outputs" in node.op.attributes:
        return None
    form = _form_of(source)
    if form is None:
        return None
    if index >= 0:
        return form(*source.inputs)[index], f"form of {source.op.name}"
    made: Node | None = form(*node.inputs, **node.attrs)
    return None if made is None else (made, f"form of {node.op.name}")


_NUMPY: Mapping[str, str] = {
    "Cholesky": "numpy.linalg.cholesky",
    "Eigh": "numpy.linalg.eigh",
    "Inverse": "numpy.linalg.inv",
    "QR": "numpy.linalg.qr",
    "SVD": "numpy.linalg.svd",
    "SignAndLogDet": "numpy.linalg.slogdet",
    "SingularValues": "numpy.linalg.svd",
    "Solve": "numpy.linalg.solve",
}
_COMPLEX = frozenset({"ComplexOf", "ImagPart", "RealPart", *complexes.PART_FORMS})


def without_form(op: Op) -> str:
    """What to say of an op that cannot be written."""
    if op.name in _COMPLEX or op.name.startswith("Complex"):
        return (
            f"{op!r} has no form in ONNX, which has no arithmetic on complex numbers: take and"
            " return their real and imaginary parts"
        )
    if op.name in _NUMPY:
        return f"{_NUMPY[op.name]} has no form in ONNX ({op!r})"
    return f"{op!r} has no form in ONNX"
