"""Loops: Loop (for and while) and Scan, whose bodies run once an iteration.

The parameters of a Loop's body are the number of the iteration, the condition, what it carries and
what it captures; it returns the condition, what it carries on and what is stacked. Those of a
Scan's body are what it carries, slices of what it scans and what it captures; it returns what it
carries on and what is stacked.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphopt import dims
from graphopt.body import Body
from graphopt.dims import Size
from graphopt.errors import TypeRuleError, UntypedError
from graphopt.ir import Node
from graphopt.op import Array, Facts, Ints, Xp, op, refuse
from graphopt.ops.arithmetic import add
from graphopt.ops.common import element, normal_axis
from graphopt.ops.examples import given
from graphopt.ops.iteration import (
    last_type,
    result_types,
    shape_of,
    sizes_outside,
    stack_items,
    stacked_type,
    type_of,
)
from graphopt.ops.linalg import matmul
from graphopt.ops.logic import less
from graphopt.ops.reduction import reduce_sum
from graphopt.ops.slicing import concat
from graphopt.structural import constant, graph_input
from graphopt.types import DType, TensorType, Type, UnknownType

ITERATION, CONDITION, CARRIED = 0, 1, 2
"""The first parameters of a Loop's body."""


@op("Loop", facts=Facts(host_inputs=(0, 1)))
def loop(
    xp: Xp,
    trips: Array | None = None,
    cond: Array | None = None,
    *values: Array,
    body: Body,
    outputs: int = 1,
) -> Array | tuple[Array, ...]:
    """Run a body `trips` times (None: without end), as long as the condition holds.

    `values` are carried from one iteration to the next, but for the last, which the body captures.
    The outputs are what was carried last, and behind it the other results of all iterations, each
    stacked. Without `cond`, the condition that the body returns does not count.
    """
    count = len(values) - body.captures
    state, captured, shown = values[:count], values[count:], list[tuple[Array, ...]]()
    most = None if trips is None else trips.item()
    number, flag = (param_shape(body, k) for k in (ITERATION, CONDITION))
    held = xp.ones(flag, xp.dtype(DType.BOOL))
    going = cond is None or cond.item()
    while going and (most is None or len(shown) < most):
        iteration = xp.full(number, len(shown), xp.dtype(DType.INT64))
        again, *made = xp.call(body, (iteration, held, *state, *captured))
        state = tuple(made[:count])
        shown.append(tuple(made[count:]))
        if cond is None:
            held = xp.reshape(again, flag)
        else:
            going = again.item()
    shapes = [number, flag, *map(shape_of, values)]
    stacked = stack_items(xp, body, 1 + count, shown, shapes)
    return (*state, *stacked) if outputs > 1 else (*state, *stacked)[0]


def param_shape(body: Body, index: int) -> Ints:
    """The shape of the iteration's number or the condition as a Loop's body takes it."""
    kind = body.params[index]
    return (1,) * (kind.rank or 0) if isinstance(kind, TensorType) else ()


@loop.infer
def _(
    trips: Node | None = None,
    cond: Node | None = None,
    *values: Node | None,
    body: Body,
    outputs: int,
) -> Type | tuple[Type, ...]:
    for name, value, dtype in (("trips", trips, DType.INT64), ("cond", cond, DType.BOOL)):
        if value is not None and not _is_one(value.derived_type, dtype):
            raise refuse(f"{name} is {value.type}, not one {dtype}")
    own = body.params[:CARRIED]
    if len(own) < CARRIED or not (_is_one(own[0], DType.INT64) and _is_one(own[1], DType.BOOL)):
        raise refuse("its body does not take the number of the iteration and the condition first")
    if not body.outputs or not _is_one(body.outputs[0].derived_type, DType.BOOL):
        raise refuse("the first output of its body is not the condition")
    arguments = [*own, *map(type_of, values)]
    carried = range(CARRIED, len(arguments) - body.captures)
    outside = sizes_outside(body, arguments, carried, 1)
    kinds = [last_type(body.outputs[k - 1], arguments[k], outside) for k in carried]
    count = trip_count(trips, cond, body)
    shown = body.outputs[1 + len(carried) :]
    return result_types(
        [*kinds, *(stacked_type(item, count, 0, outside) for item in shown)], outputs
    )


def _is_one(kind: Type, dtype: DType) -> bool:
    """Whether a type is that of one element of a dtype, as far as its sizes are known."""
    if not isinstance(kind, TensorType) or kind.dtype is not dtype:
        return False
    return all(not isinstance(size, int) or size == 1 for size in kind.shape or ())


def trip_count(trips: Node | None, cond: Node | None, body: Body) -> Size | None:
    """How often a Loop's body runs, None where that is not known beforehand.

    Where the condition is left out but the body may return false, nothing is said: ONNX means it to
    be ignored, yet runtimes stop.
    """
    most = element(trips)
    if (cond is not None and cond.known == (False,)) or (isinstance(most, int) and most <= 0):
        return 0
    if (cond is not None and cond.known != (True,)) or not goes_on(body):
        return None
    return None if most is None else dims.maximum(most, 0)


def goes_on(body: Body) -> bool:
    """Whether the condition that a Loop's body returns is true if the one it was given is."""
    again = body.outputs[0]
    passed = again.op.name == "Bound" and again.attrs["index"] == CONDITION
    return passed or again.known == (True,)


@loop.examples
def _() -> list[Node]:
    trips, cond = given("trips", dtype=DType.INT64), given("cond", dtype=DType.BOOL)
    x, w = given("x", 2, 3), given("w", 3, 3)
    k, go = (given(name, dtype=kind) for name, kind in (("k", DType.INT64), ("go", DType.BOOL)))
    yes = constant([True]), constant(True)
    power = Body.close((k, go, x), (w,), (yes[1], matmul(x, w)))
    trace = Body.close((k, go, x), (w,), (go, matmul(x, w), x, k))
    total = Body.close(
        (k, go, x), (), (less(reduce_sum(x, keepdims=0), constant(9.0, DType.FLOAT32)), add(x, x))
    )
    grown = graph_input("x", TensorType(DType.FLOAT32, (None, 3)))
    wide = Body.close((k, go, grown), (w,), (go, concat(grown, w, axis=0), grown))
    return [
        loop(trips, None, x, w, body=power),
        loop(constant(3), constant(True), x, w, body=trace, outputs=3),
        loop(constant(0), None, x, w, body=trace, outputs=3),
        loop(trips, cond, x, body=total),
        loop(constant(2), constant([False]), x, w, body=wide, outputs=2),
    ]


@op("Scan")
def scan(
    xp: Xp,
    *values: Array,
    body: Body,
    num_scan_inputs: int,
    scan_input_axes: Ints | None = None,
    scan_input_directions: Ints | None = None,
    scan_output_axes: Ints | None = None,
    scan_output_directions: Ints | None = None,
    outputs: int = 1,
) -> Array | tuple[Array, ...]:
    """Run a body on each slice of the scanned values, carrying the values before them.

    The outputs are what was carried last, and behind it the other results of all iterations, each
    stacked. A direction of 1 is backward.
    """
    own = len(values) - body.captures
    count = own - num_scan_inputs
    state, scanned, captured = values[:count], values[count:own], values[own:]
    axes = [a % x.ndim for a, x in zip(along(scan_input_axes, len(scanned)), scanned, strict=True)]
    ways = along(scan_input_directions, len(scanned))
    (length, *others) = [x.shape[axis] for axis, x in zip(axes, scanned, strict=True)]
    if any(other != length for other in others):
        raise ValueError(f"the lengths {[length, *others]} of what is scanned differ")
    shown: list[tuple[Array, ...]] = []
    for k in range(length):
        items = [slice_at(x, a, k, d) for x, a, d in zip(scanned, axes, ways, strict=True)]
        made = xp.call(body, (*state, *items, *captured))
        state = tuple(made[:count])
        shown.append(tuple(made[count:]))
    shapes = [shape_of(x) for x in values]
    for k, axis in enumerate(axes, count):
        shapes[k] = shapes[k][:axis] + shapes[k][axis + 1 :]
    stacked = stack_items(
        xp, body, count, shown, shapes, scan_output_axes or (), scan_output_directions or ()
    )
    return (*state, *stacked) if outputs > 1 else (*state, *stacked)[0]


def slice_at(x: Array, axis: int, k: int, direction: int) -> Array:
    """The slice of x that iteration k of a Scan sees."""
    return x[(slice(None),) * axis + (x.shape[axis] - 1 - k if direction else k, ...)]


def along(items: Ints | None, count: int) -> Ints:
    """Axes or directions of a Scan, one for each of `count` values; raises TypeRuleError."""
    if items is not None and len(items) != count:
        raise refuse(f"it has {list(items)} for {count} values")
    return (0,) * count if items is None else items


def scanned_types(values: Sequence[Type], axes: Sequence[int]) -> tuple[Size | None, list[Type]]:
    """(how many slices there are, the types of slices) of what a Scan scans."""
    length: Size | None = None
    kinds: list[Type] = []
    for kind, axis in zip(values, axes, strict=True):
        if not isinstance(kind, TensorType):
            wrong = UntypedError if isinstance(kind, UnknownType) else TypeRuleError
            raise wrong(f"it scans {kind}")
        if kind.shape is None:
            kinds.append(kind.with_shape(None))
            continue
        axis = normal_axis(axis, len(kind.shape))
        size = kind.shape[axis]
        if isinstance(size, int) and isinstance(length, int) and size != length:
            raise refuse(f"the lengths {length} and {size} of what is scanned differ")
        length = size if length is None or isinstance(size, int) else length
        kinds.append(kind.with_shape(kind.shape[:axis] + kind.shape[axis + 1 :]))
    return length, kinds


@scan.infer
def _(
    *values: Node | None,
    body: Body,
    num_scan_inputs: int,
    scan_input_axes: Ints | None,
    scan_input_directions: Ints | None,
    scan_output_axes: Ints | None,
    scan_output_directions: Ints | None,
    outputs: int,
) -> Type | tuple[Type, ...]:
    kinds = list(map(type_of, values))
    own = len(kinds) - body.captures
    count = own - num_scan_inputs
    if num_scan_inputs < 1 or count < 0:
        raise refuse(f"it scans {num_scan_inputs} of {own} values")
    axes = along(scan_input_axes, num_scan_inputs)
    along(scan_input_directions, num_scan_inputs)
    length, kinds[count:own] = scanned_types(kinds[count:own], axes)
    outside = sizes_outside(body, kinds, range(count), 0)
    shown = body.outputs[count:]
    along(scan_output_directions, len(shown))
    made = [last_type(body.outputs[k], kinds[k], outside) for k in range(count)]
    for item, axis in zip(shown, along(scan_output_axes, len(shown)), strict=True):
        made.append(stacked_type(item, length, axis, outside))
    return result_types(made, outputs)


@scan.examples
def _() -> list[Node]:
    state, x, w = given("s", 3), given("x", 4, 3), given("w", 3)
    item, narrow = given("item", 3), given("narrow", 4)
    running = Body.close((state, item), (), (add(state, item), add(state, item)))
    both = Body.close((item, narrow), (w,), (add(item, w), reduce_sum(narrow, keepdims=0)))
    many = graph_input("many", TensorType(DType.FLOAT32, (dims.symbol("N"), 3)))
    return [
        scan(state, x, body=running, num_scan_inputs=1, outputs=2),
        scan(state, many, body=running, num_scan_inputs=1, outputs=2),
        scan(
            given("y", 3, 2),
            given("z", 2, 4),
            w,
            body=both,
            num_scan_inputs=2,
            scan_input_axes=(1, 0),
            scan_input_directions=(0, 1),
            scan_output_axes=(-1, 0),
            scan_output_directions=(1, 0),
            outputs=2,
        ),
    ]
