"""Loop and Scan on JAX: written out where short, else loops of XLA's, whose shapes stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from graphopt.backends.jax.library import jnp, lax
from graphopt.backends.jax.namespace import JAX, UNROLLED, on_device
from graphopt.body import Body
from graphopt.errors import GraphoptError, UnsupportedError
from graphopt.ir import Node, types_of
from graphopt.ops.loops import along, goes_on, param_shape

if TYPE_CHECKING:
    from graphopt.backends.jax.trace import Trace

Array = Any
Arrays = tuple[Array, ...]

MAX_TRIPS = 64
"""Loops that carry values of changing shapes are written out up to so many iterations."""


@dataclass(frozen=True)
class _Namespace:
    """JAX's functions for the kernel of a loop that is written out."""

    trace: Trace
    node: Node

    def __getattr__(self, name: str) -> Any:
        return getattr(JAX, name)

    def call(self, body: Body, arguments: Sequence[Array]) -> Arrays:
        """The outputs of the loop's body."""
        return self.trace.body(self.node, body, arguments)


def _written_out(trace: Trace, node: Node, operands: Sequence[Array]) -> Array:
    """The outputs of a loop whose body is traced for every iteration."""
    return node.op.kernel(_Namespace(trace, node), *operands, **node.op.arguments(node.attrs))


def run_loop(trace: Trace, node: Node, operands: list[Array]) -> Array:
    """The outputs of a Loop.

    A number of iterations that is a graph input is asked for where it shapes what is stacked, and
    so is a condition. Raises NeedsValues or UnsupportedError then.
    """
    body: Body = node.attrs["body"]
    trips, cond, *values = [*operands, None, None][: max(len(operands), 2)]
    count = len(values) - body.captures
    stacks = len(body.outputs) > 1 + count
    told = cond is None or not on_device(cond)
    if told and cond is not None and not cond.item():
        return _written_out(trace, node, operands)
    fixed = told and not on_device(trips)
    if fixed and trips is not None and (cond is None or goes_on(body)):
        most = max(int(trips.item()), 0)
        if most <= UNROLLED:
            return _written_out(trace, node, operands)
        try:
            return _counted(trace, node, values, most)
        except (GraphoptError, TypeError):
            if most <= MAX_TRIPS:
                return _written_out(trace, node, operands)
            raise
    if stacks:
        return trace.ask(node, operands)
    return _while(trace, node, trips, cond, values)


def _arguments(body: Body, k: Array, values: Sequence[Array], going: Array = True) -> list[Array]:
    """The arguments of a Loop's body in iteration k."""
    number = jnp.broadcast_to(jnp.asarray(k, np.int64), param_shape(body, 0))
    return [number, jnp.broadcast_to(going, param_shape(body, 1)), *values]


def _results(node: Node, state: Sequence[Array], stacked: Sequence[Array]) -> Array:
    made = (*state, *stacked)
    return made if types_of(node) != (node.derived_type,) else made[0]


def _counted(trace: Trace, node: Node, values: Sequence[Array], trips: int) -> Array:
    """A Loop that runs a known number of times."""
    body: Body = node.attrs["body"]
    count = len(values) - body.captures
    captured = values[count:]

    def step(state: Arrays, k: Array) -> tuple[Arrays, Arrays]:
        # ONNX passes on a condition that does not count; one that does is true here
        made = trace.body(node, body, _arguments(body, k, (*state, *captured)))
        _, *results = map(trace.on_device, made)
        return tuple(results[:count]), tuple(results[count:])

    start = tuple(map(trace.on_device, values[:count]))
    state, stacked = lax.scan(step, start, np.arange(trips))
    return _results(node, state, stacked)


def _while(
    trace: Trace, node: Node, trips: Array | None, cond: Array | None, values: Sequence[Array]
) -> Array:
    """A Loop that stacks nothing, for as long as its condition holds."""
    body: Body = node.attrs["body"]
    count = len(values) - body.captures
    captured = values[count:]
    most = None if trips is None else jnp.reshape(trips, ())

    def holds(carry: Arrays) -> Array:
        k, going, *_ = carry
        within = True if most is None else k < most
        return jnp.logical_and(within, True if cond is None else going)

    def step(carry: Arrays) -> Arrays:
        k, going, *state = carry
        made = trace.body(node, body, _arguments(body, k, (*state, *captured), going))
        again, *results = map(trace.on_device, made)
        return (k + 1, jnp.reshape(again, ()), *results)

    going = jnp.reshape(jnp.asarray(True if cond is None else cond), ())
    start = (jnp.zeros((), np.int64), going, *map(trace.on_device, values[:count]))
    try:
        _, _, *state = lax.while_loop(holds, step, start)
    except TypeError as error:
        raise UnsupportedError(
            "jax compiles for shapes, and it carries values whose shapes change: use"
            " backend='numpy', or make the number of iterations a constant",
            at=trace.subject.origin(node),
        ) from error
    return _results(node, state, ())


def run_scan(trace: Trace, node: Node, operands: list[Array]) -> Array:
    """The outputs of a Scan. Raises UnsupportedError where it carries changing shapes."""
    attrs = node.op.arguments(node.attrs)
    body: Body = attrs["body"]
    scans: int = attrs["num_scan_inputs"]
    own = len(operands) - body.captures
    count = own - scans
    scanned, captured = operands[count:own], operands[own:]
    axes = [
        a % x.ndim for a, x in zip(along(attrs["scan_input_axes"], scans), scanned, strict=True)
    ]
    lengths = [x.shape[axis] for axis, x in zip(axes, scanned, strict=True)]
    if lengths[0] <= UNROLLED or len(set(lengths)) > 1:
        return _written_out(trace, node, operands)
    ways = along(attrs["scan_input_directions"], scans)
    moved = [
        jnp.flip(jnp.moveaxis(x, axis, 0), 0) if way else jnp.moveaxis(x, axis, 0)
        for x, axis, way in zip(map(trace.on_device, scanned), axes, ways, strict=True)
    ]

    def step(state: Arrays, items: Arrays) -> tuple[Arrays, Arrays]:
        made = trace.body(node, body, (*state, *items, *captured))
        results = tuple(map(trace.on_device, made))
        return results[:count], results[count:]

    try:
        start = tuple(map(trace.on_device, operands[:count]))
        state, stacked = lax.scan(step, start, tuple(moved))
    except TypeError:
        return _written_out(trace, node, operands)
    shown = len(body.outputs) - count
    ends = along(attrs["scan_output_axes"], shown), along(attrs["scan_output_directions"], shown)
    placed = [
        jnp.moveaxis(jnp.flip(x, 0) if way else x, 0, axis)
        for x, axis, way in zip(stacked, *ends, strict=True)
    ]
    return _results(node, state, placed)
