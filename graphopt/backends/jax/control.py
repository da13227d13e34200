"""Control flow on JAX: If, and which function runs which op.

An If is one branch where the condition is known while tracing, else a conditional of XLA's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from graphopt.backends.jax.library import lax
from graphopt.backends.jax.loops import run_loop, run_scan
from graphopt.backends.jax.namespace import on_device
from graphopt.body import Body
from graphopt.errors import GraphoptError
from graphopt.ir import Node

if TYPE_CHECKING:
    from graphopt.backends.jax.trace import Trace

Array = Any


def run_if(trace: Trace, node: Node, operands: list[Array]) -> Array:
    """The outputs of an If.

    A condition that is a graph input is asked for, and so is one where the branches' results have
    not the same types on these shapes, or a branch cannot run on them at all. Raises NeedsValues or
    UnsupportedError then.
    """
    made: Any
    cond, *captures = operands
    bodies: tuple[Body, Body] = node.attrs["then_branch"], node.attrs["else_branch"]
    if not on_device(cond):
        made = trace.body(node, bodies[not cond.item()], captures)
    elif node.inputs[0].op.name == "Input":
        made = trace.ask(node, operands)
    else:

        def branch(body: Body) -> Callable[[], tuple[Array, ...]]:
            return lambda: tuple(map(trace.on_device, trace.body(node, body, captures)))

        try:
            made = lax.cond(cond.reshape(()), *map(branch, bodies))
        except (GraphoptError, TypeError):
            made = trace.ask(node, operands)
    return tuple(made) if len(made) > 1 else made[0]


def run_fused(trace: Trace, node: Node, operands: list[Array]) -> Array:
    """The outputs of a fused node: those of its body."""
    made: Any = trace.body(node, node.attrs["body"], operands)
    return tuple(made) if len(made) > 1 else made[0]


CONTROL: Mapping[tuple[str, str], Callable[[Trace, Node, list[Array]], Array]] = {
    ("", "If"): run_if,
    ("graphopt", "Fused"): run_fused,
    ("", "Loop"): run_loop,
    ("", "Scan"): run_scan,
}
"""What runs the ops that have bodies, by domain and name."""
