"""What a model is written for: which operators beyond the plain ones its target has.

    suited(graph, "portable", 17)

gives the graph that is written: of what is fused, that for which the target has an operator at
this opset and for this dtype is written by it, all else by its body. `portable`, the default, has
standard operators only; `ort` has those of ONNX Runtime (1.31, on CPUs) besides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from graphopt.body import Body
from graphopt.errors import UsageError, nearest
from graphopt.frontends.onnx import microsoft, spelled
from graphopt.fusion import expanded, form_of
from graphopt.graph import Graph
from graphopt.ir import Node, types_of, walk
from graphopt.ops.fused import fused
from graphopt.rewriting.rule import Math, RuleSet
from graphopt.rewriting.sweep import rewriter_of, sweep
from graphopt.rewriting.uses import Uses
from graphopt.types import DType, TensorType

SINGLE = frozenset({DType.FLOAT16, DType.FLOAT32})
FLOATS = SINGLE | {DType.FLOAT64}


Capability = tuple[int, frozenset[DType]]
"""That a target has an operator of ai.onnx: from which opset on, and for which dtypes."""

PORTABLE: Mapping[str, tuple[Capability, ...]] = {
    "Add": ((7, FLOATS),),
    "Attention": ((23, SINGLE),),
    "Div": ((7, FLOATS),),
    "Erf": ((9, FLOATS),),
    "GRU": ((7, SINGLE),),
    "Gelu": ((20, SINGLE),),
    "GroupNormalization": ((21, FLOATS),),
    "HardSigmoid": ((7, SINGLE),),
    "HardSwish": ((14, SINGLE),),
    "InstanceNormalization": ((7, SINGLE),),
    "LayerNormalization": ((17, FLOATS),),
    "LeakyRelu": ((7, SINGLE),),
    "LogSoftmax": ((13, FLOATS),),
    "Mish": ((18, FLOATS),),
    "Mul": ((7, FLOATS),),
    "RMSNormalization": ((23, FLOATS),),
    "Softmax": ((13, FLOATS),),
    "Squeeze": ((7, FLOATS),),
    "Sum": ((8, FLOATS),),
    "Swish": ((24, FLOATS),),
    "Transpose": ((7, FLOATS),),
    "Unsqueeze": ((7, FLOATS),),
}
"""The standard operators that forms consist of, where runtimes have them: ONNX defines some for
float64 too that none implements, and a model must not stop running for being optimized."""

ORT: Mapping[str, tuple[Capability, ...]] = {
    name: (*found, (7, frozenset({DType.FLOAT32}))) if name in microsoft.OLDER else found
    for name, found in PORTABLE.items()
}
"""ONNX Runtime has some at older opsets too, under another name: see `microsoft.RENAMED`."""


@dataclass(frozen=True, slots=True)
class Target:
    """Which operators forms may consist of; `rules` say the rest, at an opset, of the graph."""

    forms: Mapping[str, tuple[Capability, ...]]
    rules: Callable[[int], RuleSet] | None = None

    def takes(self, node: Node, opset: int) -> bool:
        """Whether the target has the operators of the form of a fused node, in its place."""
        form: Body = node.attrs["form"]
        return all(self._has(item, opset) for item in inside(form))

    def _has(self, node: Node, opset: int) -> bool:
        if node.op is fused:
            body: Body = node.attrs["body"]
            return all(self._has(item, opset) for item in inside(body))
        dtypes = {kind.dtype for kind in types_of(node) if isinstance(kind, TensorType)}
        rows = () if node.op.domain else self.forms.get(node.op.name, ())
        return any(opset >= since and dtypes <= taken for since, taken in rows)


def inside(body: Body) -> Iterator[Node]:
    """The nodes of a body that compute."""
    return (node for node in walk(body.outputs) if node.inputs)


TARGETS: Mapping[str, Target] = {
    "portable": Target(PORTABLE, spelled.rules_at),
    "ort": Target(ORT, microsoft.rules_at),
}


def target_of(name: str) -> Target:
    """The target of a name; raises UsageError."""
    if name not in TARGETS:
        hint = nearest(name, list(TARGETS))
        raise UsageError(f"no target is called {name!r}{hint}", at="target")
    return TARGETS[name]


def suited(graph: Graph, name: str, opset: int) -> Graph:
    """The graph that is written for a target at an opset; raises UsageError for no target."""
    target = target_of(name)

    def chosen(node: Node) -> Node | None:
        form = form_of(node)
        return form if form is not None and target.takes(node, opset) else None

    made = expanded(graph, chosen)
    if target.rules is None:
        return made
    uses = Uses(made.roots)
    rewriter = rewriter_of(target.rules(opset), Math.DEFAULT, lambda name: True, uses)
    return sweep(made, rewriter, uses=uses)[0]
