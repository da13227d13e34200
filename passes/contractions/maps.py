"""What folding maps per channel into constants rests on: the maps, the weights, their growth.

A map is y * factor + shift, factor and shift with one element a channel. What sums products takes
it into its weights: (sum x w) f + s = sum x (w f) + s. Each element of w f is rounded once, as the
product with f was, so the error stays within the bound gamma_k |x| |w f| of such a sum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from graphopt.analysis import finite_and_normal
from graphopt.ir import Node
from graphopt.ops.arithmetic import add, div, mul, sub
from graphopt.ops.functions import erf, tanh
from graphopt.ops.normalization import batch_normalization
from graphopt.rewriting import Declined, Guard
from graphopt.structural import constant
from graphopt.tensor import Tensor
from graphopt.types import DType

Vector = np.ndarray[Any, np.dtype[np.float64]]
Uses = Callable[[Node], int]
ORDINARY = 2.0**32
"""Inputs up to this magnitude must not overflow where they did not before."""
A_NODE = 64
"""The least bytes that a node takes in a file."""
CANCELS = 2.0**-8
"""Two constants whose sum is smaller than this, by them, may be meant to round in between."""
COUNTS = 2.0**-60
"""Weights of this magnitude make products beside which those of subnormal ones do not count."""

GROWS = Declined("the constants would take more bytes")
EXTREME = Declined("a constant would overflow, be subnormal, or make a sum overflow")
AXIS = Declined("the constant does not vary by channel alone")
CANCELLED = Declined("the constants cancel")


@dataclass(frozen=True, eq=False)
class Affine:
    """The map y * factor + shift by vectors, of one element where all channels have the same.

    `spent` are the constants that it is made of, which it frees; `bare`: it is a mere sum.
    """

    factor: Vector
    shift: Vector
    spent: tuple[Node, ...]
    bare: bool = False

    def fits(self, count: int | None) -> bool:
        """Whether there is one element for all, or one for each of so many channels."""
        return self.factor.size in (1, count) and self.shift.size in (1, count)


ZERO, ONE = np.zeros(1), np.ones(1)


def exact(value: Node) -> Vector:
    """A constant in float64, one element for a splat."""
    tensor = value.constant
    assert tensor is not None
    if tensor.is_splat:
        return np.full((1,) * len(tensor.shape), tensor.element, np.float64)
    return tensor.array.astype(np.float64)


def halves_gelu(value: Node) -> bool:
    """Whether a product is c * (x * (1 + erf(...))), or of tanh.

    That is one operator of runtimes, with its factor; without it, it is four nodes for good.
    """
    if value.op is not mul:
        return False
    first, second = value.inputs
    gated = second if first.constant is not None else first
    sums = [item for item in gated.inputs if item.op is add] if gated.op is mul else []
    return any(item.op in (erf, tanh) for sum_ in sums for item in sum_.inputs)


whole_gelu = Guard("it is no part of a Gelu", lambda inner: not halves_gelu(inner))


def rounded(made: Vector, dtype: DType, shape: Sequence[int]) -> Node | None:
    """`made`, broadcast, in a dtype; None when an element overflows."""
    with np.errstate(all="ignore"):
        array = made.astype(dtype.numpy)
    return _held(array, dtype, shape) if np.isfinite(array).all() else None


def _held(array: np.ndarray[Any, np.dtype[Any]], dtype: DType, shape: Sequence[int]) -> Node:
    """An array that nobody else has, broadcast, as a constant."""
    if array.size == 1 and tuple(shape) != ():
        return constant(Tensor.splat(dtype, shape, array.reshape(-1)[0]))
    if array.size == 1:  # whatever its rank: the shape may have none
        return constant(Tensor.of(array.reshape(tuple(shape)), dtype))
    if array.shape != tuple(shape):
        array = np.array(np.broadcast_to(array, tuple(shape)))
    array.flags.writeable = False  # so it is not copied
    return constant(Tensor.of(array, dtype).compact())


def rounded_factors(
    made: Vector,
    dtype: DType,
    shape: Sequence[int],
    along: int | None = None,
    beside: Node | None = None,
) -> Node | None:
    """As `rounded`, of what is multiplied by inputs; None when an element becomes subnormal.

    Beside another that counts it may, of the same slice `along` an axis, or the slice's bias in
    `beside`: with inputs from 2^-32 to 2^32 its error is less than a rounding of the other's
    product, or of the bias.
    """
    with np.errstate(all="ignore"):
        array = made.astype(dtype.numpy)
    if not _normal(array, made):
        if along is None or dtype is DType.FLOAT16:
            return None
        axes = tuple(k for k in range(made.ndim) if k != along % made.ndim)
        largest = np.maximum(np.abs(made).max(axes, initial=0), _magnitudes(beside))
        if float(largest.min(initial=np.inf)) < COUNTS:
            return None
        if not np.isfinite(array).all():
            return None
    return _held(array, dtype, shape)


def _magnitudes(bias: Node | None) -> Vector:
    """Of a bias for each output channel; 0 of one that is left out, unknown or of another form."""
    held = None if bias is None else bias.constant
    known = held is not None and len(held.shape) == 1
    return np.abs(exact(bias)) if bias is not None and known else ZERO


def _normal(array: np.ndarray[Any, np.dtype[Any]], made: Vector) -> bool:
    if not finite_and_normal(array):
        return False
    return bool(array.all()) or not bool(np.any((array == 0) & (made != 0)))


def scaled(
    w: Node, factor: Vector, along: int | None = None, beside: Node | None = None
) -> Node | None:
    """The weights w * factor; None when they, or sums of products with them, could overflow.

    `along` is the axis of the results' channels, `beside` the bias that is added to these.
    """
    tensor = w.constant
    assert tensor is not None
    with np.errstate(all="ignore"):
        made = exact(w) * factor
    # What is computed in 16 bits is summed in 32: of these, no sum of ordinary numbers overflows.
    if tensor.dtype is not DType.FLOAT16 and bool(np.any(np.abs(factor) > 1)):
        top = float(ml_dtypes.finfo(tensor.dtype.numpy).max)  # type: ignore[no-untyped-call]
        with np.errstate(all="ignore"):
            total = float(np.abs(made).sum()) * tensor.size / max(made.size, 1) * ORDINARY
        if total > top:
            return None
    return rounded_factors(made, tensor.dtype, tensor.shape, along, beside)


def channels(value: Node, root: Node, axis: int = 1) -> Vector | None:
    """A constant that varies along `axis` of `root` only, as a vector; of length 1: nowhere.

    None when it varies along another axis: that sizes happen to coincide proves nothing.
    """
    tensor, rank = value.constant, root.rank
    if tensor is None or rank is None or not 0 <= axis < rank or len(tensor.shape) > rank:
        return None
    aligned = (1,) * (rank - len(tensor.shape)) + tensor.shape
    if tensor.is_splat:
        return exact(value).reshape(-1)
    if any(size != 1 for k, size in enumerate(aligned) if k != axis):
        return None
    return exact(value).reshape(-1)


def stored(values: Iterable[Node]) -> int:
    """The bytes that constants take, each once; one that stores a single element counts nothing."""
    held = [value.constant for value in set(values)]
    return sum(t.stored_bytes for t in held if t is not None and not t.is_splat)


def grows(made: Sequence[Node], old: Sequence[Node], uses: Uses) -> bool:
    """Whether new constants take more than those among the old ones, and a node, set free."""
    freed = stored(item for item in old if uses(item) <= 1)
    return stored(set(made) - set(old)) > freed + A_NODE


def map_of(root: Node, y: Node, axis: int) -> Affine | Declined:
    """The map along `axis` that `root` applies to its operand y; the rest of it is constant."""
    if root.op is batch_normalization:
        return normalizer(root) if axis == 1 else AXIS
    first, second = root.inputs
    c = second if first is y else first
    if not c.dtype.is_float:
        return Declined("only floats are scaled so")
    vector = channels(c, root, axis)
    if vector is None:
        return AXIS
    if root.op is mul:
        return Affine(vector, ZERO, (c,))
    if root.op is div:
        if first is not y or not vector.all():
            return Declined("the divisor is a constant that is not 0")
        with np.errstate(all="ignore"):
            return Affine(1 / vector, ZERO, (c,))
    if root.op is add:
        return Affine(ONE, vector, (c,), bare=True)
    assert root.op is sub
    return Affine(ONE, -vector, (c,), bare=True) if first is y else Affine(-ONE, vector, (c,))


def normalizer(node: Node) -> Affine:
    """The map that a batch normalization by constants applies to each channel."""
    _, s, o, m, v = node.inputs
    epsilon = node.op.arguments(node.attrs)["epsilon"]
    with np.errstate(all="ignore"):
        factor = exact(s) / np.sqrt(exact(v) + epsilon)
        shift = exact(o) - exact(m) * factor
    return Affine(factor, shift, (s, o, m, v))


def shifted(b: Vector, map_: Affine) -> Vector | Declined:
    """The bias b * factor + shift."""
    with np.errstate(all="ignore"):
        made: Vector = b * map_.factor + map_.shift
    if map_.bare and b.any() and map_.shift.any():
        larger = max(float(np.abs(b).max()), float(np.abs(map_.shift).max()))
        if float(np.abs(made).max()) < larger * CANCELS:
            return CANCELLED
    return made


def bias_of(
    b: Node, map_: Affine, dtype: DType, shape: Sequence[int], beta: float = 1.0
) -> Node | Declined | None:
    """The bias beta * b * factor + shift; None where there is none before and behind.

    It may be subnormal: so may the sum be that it stands for, with the same error.
    """
    if b.is_absent and not map_.shift.any():
        return None
    made = shifted(ZERO if b.is_absent else exact(b) * beta, map_)
    return made if isinstance(made, Declined) else rounded(made, dtype, shape) or EXTREME
