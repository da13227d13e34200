"""Scan of opset 8, which runs its body on every item of a batch: a Scan of Scans since."""

from __future__ import annotations

from graphopt.body import Body, param_type
from graphopt.errors import GraphoptError, UnsupportedError
from graphopt.frontends.onnx.call import Call
from graphopt.frontends.onnx.opsets.steps import Inexpressible, given
from graphopt.ir import Node
from graphopt.ops.loops import scan, scanned_types
from graphopt.structural import graph_input, results
from graphopt.types import Type


def scan_batches(call: Call) -> tuple[Node, ...]:
    """The values of a Scan over the items of a batch, the first axis of all that it takes.

    Raises UnsupportedError where the items' lengths are given, or types do not fit.
    """
    body = call.attributes.get("body")
    if not isinstance(body, Body) or given(call, 0) is not None:
        raise UnsupportedError("a scan over batches of sequences of several lengths has no form")
    values = call.inputs[1:]
    own = len(values) - body.captures
    try:
        _, items = scanned_types([value.derived_type for value in values[:own]], (0,) * own)
        formals = _inputs("item", list(map(param_type, items)))
        captured = _inputs("captured", [param_type(v.derived_type) for v in values[own:]])
        inner = scan(
            *formals,
            *captured,
            body=body,
            num_scan_inputs=call.attributes["num_scan_inputs"],
            scan_input_directions=call.attributes.get("directions"),
            outputs=call.outputs,
        )
        outer = Body.close(formals, captured, results(inner))
        return results(scan(*values, body=outer, num_scan_inputs=own, outputs=call.outputs))
    except GraphoptError as error:
        raise UnsupportedError(f"this scan over batches has no form: {error.message}") from error


def _inputs(name: str, kinds: list[Type]) -> list[Node]:
    return [graph_input(f"{name} {k}", kind) for k, kind in enumerate(kinds)]


def nothing_older(call: Call) -> Call:
    """Scan 8 has batches, which Scan 9 has not."""
    raise Inexpressible("without batches")


def carries_a_value(call: Call) -> Call:
    """Loop 1 has at least one value that is carried."""
    body = call.attributes.get("body")
    captures = body.captures if isinstance(body, Body) else 0
    if len(call.inputs) - captures < 3:
        raise Inexpressible("nothing is carried")
    return call
