"""What loops share: how a body's results are stacked, and the types of what it carries and stacks.

Sizes in a body are those outside where it captures them, or carries a value whose size it keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphopt import dims
from graphopt.body import Body
from graphopt.dims import DimOf, Size, Symbol
from graphopt.ir import Node
from graphopt.op import Array, Ints, Xp, refuse
from graphopt.ops.common import normal_axis
from graphopt.ops.control import fits, join
from graphopt.structural import bound
from graphopt.types import UNKNOWN, TensorType, Type, UnknownType, map_shapes

Atom = Symbol | DimOf
SizeOf = Callable[[Atom], Size | None]


def shape_of(value: Array) -> Ints:
    return getattr(value, "shape", ())  # a sequence has none


def stack_items(
    xp: Xp,
    body: Body,
    first: int,
    shown: Sequence[tuple[Array, ...]],
    shapes: Sequence[Ints],
    axes: Sequence[int] = (),
    directions: Sequence[int] = (),
) -> list[Array]:
    """The results of a body from output `first` on, those of all iterations stacked.

    Of no iteration, the sizes follow from the parameters' `shapes`, and are 0 if they do not.
    """
    made: list[Array] = []
    for k, output in enumerate(body.outputs[first:]):
        axis = axes[k] if axes else 0
        items = [item[k] for item in shown]
        if items:
            made.append(xp.stack(items[::-1] if directions and directions[k] else items, axis))
        else:
            sizes = list(empty_item(body, output, shapes))
            sizes.insert(axis % (len(sizes) + 1), 0)
            made.append(xp.zeros(sizes, xp.dtype(output.dtype)))
    return made


def empty_item(body: Body, output: Node, shapes: Sequence[Ints]) -> Ints:
    """The shape that an output of a body that does not run would have."""
    named = _named_sizes(body.params, shapes)

    def size_of(atom: Atom) -> Size | None:
        if isinstance(atom, Symbol):
            return named.get(atom.name)
        if atom.value.op.name != "Bound":
            return None
        index: int = atom.value.attrs["index"]
        return shapes[index][atom.axis]

    sizes = [dims.substitute(size, size_of) for size in output.shape or ()]
    return tuple(size if isinstance(size, int) else 0 for size in sizes)


def _named_sizes(params: Sequence[Type], shapes: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """What the names among the parameters' sizes stand for."""
    named: dict[str, Any] = {}
    for kind, shape in zip(params, shapes, strict=True):
        sizes = kind.shape if isinstance(kind, TensorType) else None
        for size, number in zip(sizes or (), shape, strict=False):
            atom = None if size is None else dims.sole_atom(size)
            if isinstance(atom, Symbol):
                named[atom.name] = number
    return named


def type_of(value: Node | None) -> Type:
    if value is None:
        raise refuse("a value that is carried, scanned or captured is missing")
    return value.type


def sizes_outside(body: Body, arguments: Sequence[Type], carried: range, skipped: int) -> SizeOf:
    """What a size in a body is outside, None where it changes or only running tells.

    `arguments` are the types of what the parameters are first, `carried` the parameters that are
    carried, by the outputs from `skipped` on. Raises TypeRuleError where types do not fit.
    """
    if len(body.params) != len(arguments):
        raise refuse(f"its body takes {len(body.params)} values, not {len(arguments)}")
    if len(body.outputs) < skipped + len(carried):
        raise refuse(f"its body returns {len(body.outputs)} values, and carries {len(carried)}")
    for wanted, first in zip(body.params, arguments, strict=True):
        if not fits(wanted, first):
            raise refuse(f"its body takes {wanted}, not {first}")
    shapes = [kind.shape if isinstance(kind, TensorType) else None for kind in arguments]
    changing = _changing(body, carried, skipped)
    named = _named_sizes(body.params, [shape or () for shape in shapes])

    def outside(atom: Atom) -> Size | None:
        if isinstance(atom, Symbol):
            return named.get(atom.name)
        if atom.value.op.name != "Bound":
            return None
        index: int = atom.value.attrs["index"]
        shape = None if (index, atom.axis) in changing else shapes[index]
        return None if shape is None else shape[atom.axis]

    return outside


def _changing(body: Body, carried: range, skipped: int) -> set[tuple[int, int]]:
    """The axes of carried parameters (parameter, axis) whose size may change in an iteration."""
    found: set[tuple[int, int]] = set()
    for k in carried:
        kind, made = body.params[k], body.outputs[k - carried.start + skipped].type
        if not _carries(kind, made):
            raise refuse(f"its body carries {kind}, and returns {made} for it")
        if isinstance(kind, TensorType) and isinstance(made, TensorType) and kind.shape is not None:
            sizes = zip(bound(k, kind).shape or (), made.shape or (), strict=True)
            found |= {(k, axis) for axis, (a, b) in enumerate(sizes) if a != b}
    return found


def _carries(kind: Type, made: Type) -> bool:
    """Whether a parameter of a type takes what the body returns for it: it must hold for ever."""
    if isinstance(kind, TensorType) and isinstance(made, TensorType):
        if kind.dtype is not made.dtype or kind.known is not None:
            return False
        if kind.shape is None or made.shape is None:
            return kind.shape is None
        return len(kind.shape) == len(made.shape) and all(
            a is None or a == b for a, b in zip(kind.shape, made.shape, strict=True)
        )
    return fits(kind, made)


def last_type(made: Node, first: Type, outside: SizeOf) -> Type:
    """The type of a carried value at the end, of which the body returns `made`."""
    return join(first, map_shapes(made.type, lambda kind: _seen(kind, outside)))


def _seen(kind: TensorType, outside: SizeOf) -> TensorType:
    """A type in a body as it is seen outside."""

    def size(item: Any) -> Any:
        return dims.substitute(item, outside) if isinstance(item, dims.Dim) else item

    seen = kind.with_shape(None if kind.shape is None else map(size, kind.shape))
    return seen.with_known(None if kind.known is None else map(size, kind.known))


def stacked_type(item: Node, count: Size | None, axis: int, outside: SizeOf) -> Type:
    """The type of a result of all iterations, stacked."""
    kind = item.type
    if isinstance(kind, UnknownType):
        return UNKNOWN
    if not isinstance(kind, TensorType):
        raise refuse(f"what its body returns to be stacked is {kind}")
    if kind.shape is None:
        return kind.with_shape(None)
    sizes = list(_seen(kind, outside).shape or ())
    sizes.insert(normal_axis(axis, len(sizes) + 1), count)
    return kind.with_shape(sizes)


def result_types(kinds: Sequence[Type], outputs: int) -> Type | tuple[Type, ...]:
    """The types of a loop's outputs; raises TypeRuleError where there are others, or none."""
    if len(kinds) != outputs or not kinds:
        raise refuse(f"it has {len(kinds)} outputs, not {outputs}")
    return tuple(kinds) if outputs > 1 else kinds[0]
