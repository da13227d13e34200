"""Ops that change the dtype of elements or nothing at all: Cast, BitCast, Identity, Dropout."""

from __future__ import annotations

from typing import Any

from graphopt import dims
from graphopt.ir import Node
from graphopt.op import Array, Facts, Xp, op, refuse
from graphopt.ops.bounds import converted, outputs
from graphopt.ops.checks import check_dtype
from graphopt.ops.dtypes import FLOAT8, FLOATS, NUMBERS
from graphopt.ops.elementwise import combine_known, unary_examples
from graphopt.ops.examples import given
from graphopt.ops.intervals import point
from graphopt.ranges import ValueFacts
from graphopt.structural import constant, graph_input
from graphopt.types import DType, SequenceType, TensorType, Type, dtype_of

REAL = tuple(dtype for dtype in DType if dtype.kind != "c")
BITS = tuple(dtype for dtype in DType if dtype is not DType.STRING)
ROUND_MODES = ("up", "down", "nearest")


@op("Cast", facts=Facts(signed_zero="passed", elementwise=True))
def cast(xp: Xp, x: Array, *, to: DType, saturate: int = 1, round_mode: str = "up") -> Array:
    """x as another dtype.

    Floats are rounded to the nearest float, or toward zero to an integer; integers wrap around.
    `saturate` and `round_mode` count for 8-bit floats; a string that is not a number fails.
    """
    return xp.cast(x, to, bool(saturate), round_mode)


@cast.infer
def _(x: Node, *, to: DType, saturate: int, round_mode: str) -> Type:
    return cast_type(x, to, round_mode)


@cast.bounds
def _(node: Node, x: ValueFacts) -> ValueFacts:
    return converted(node.inputs[0].dtype, node.dtype, x)


def cast_type(x: Node, to: DType, round_mode: str) -> TensorType:
    """The type of x cast to a dtype. Integers and sizes stay known as long as they fit."""
    check_dtype(x, REAL)
    kind = x.tensor_type
    if to not in REAL:
        raise refuse(f"a cast to {to} is not taken")
    if round_mode not in ROUND_MODES:
        raise refuse(f"round_mode is up, down or nearest, not {round_mode!r}")
    made = TensorType(to, kind.shape)
    if kind.known is None or not (to is DType.BOOL or (to.is_integer and to.bits >= 8)):
        return made
    known = known_truth if to is DType.BOOL else known_integer
    return made.with_known(combine_known((kind,), kind.shape, to, known))


def known_truth(a: Any) -> bool | None:
    """Whether a known element is not 0."""
    return bool(a) if isinstance(a, int) else True if dims.positive(a) else None


def known_integer(a: Any) -> Any:
    """A known element as an integer, which True is too."""
    return int(a) if type(a) is bool else a


@cast.examples
def _() -> list[Node]:
    examples = [
        cast(given("x", 5, 7, dtype=dtype), to=to)
        for dtype in REAL
        for to in REAL
        if dtype is not DType.STRING or to is not DType.BOOL
    ]
    x = given("x", "N", 0)
    rounding = [
        cast(given("x", 40, dtype=dtype), to=DType.FLOAT8E8M0, saturate=saturate, round_mode=mode)
        for mode in ROUND_MODES
        for saturate in (0, 1)
        for dtype in (DType.FLOAT32, DType.FLOAT16)
    ]
    known = [cast(constant([1, 300, -1]), to=to) for to in (DType.UINT8, DType.BOOL, DType.INT32)]
    loose = [cast(given("x", 40), to=to, saturate=0) for to in FLOAT8]
    return [*examples, *rounding, *known, *loose, cast(x, to=DType.INT64)]


@op("CastLike", facts=Facts(signed_zero="passed"))
def cast_like(
    xp: Xp, x: Array, target_type: Array, *, saturate: int = 1, round_mode: str = "up"
) -> Array:
    """x as the dtype of target_type, whose content does not count."""
    return xp.cast(x, dtype_of(target_type.dtype), bool(saturate), round_mode)


@cast_like.infer
def _(x: Node, target_type: Node, *, saturate: int, round_mode: str) -> Type:
    return cast_type(x, target_type.dtype, round_mode)


@cast_like.bounds
def _(node: Node, x: ValueFacts, target_type: ValueFacts) -> ValueFacts:
    return converted(node.inputs[0].dtype, node.dtype, x)


@cast_like.examples
def _() -> list[Node]:
    x, target = given("x", "N", 3), given("target", 2, dtype=DType.INT8)
    return [cast_like(x, target), cast_like(constant([1, 2]), target),
            cast_like(x, given("target", dtype=DType.FLOAT8E5M2), saturate=0),
            cast_like(given("x", 9), given("target", 9, dtype=DType.FLOAT16))]  # fmt: skip


@op("BitCast", facts=Facts(elementwise=True, total=True))
def bit_cast(xp: Xp, x: Array, *, to: DType) -> Array:
    """The bits of x taken for those of another dtype of the same width."""
    return x.view(xp.dtype(to))


@bit_cast.infer
def _(x: Node, *, to: DType) -> Type:
    check_dtype(x, BITS)
    kind = x.tensor_type
    if to.bits != kind.dtype.bits or to not in BITS:
        raise refuse(f"{kind.dtype} and {to} have not the same number of bits")
    made = TensorType(to, kind.shape)
    if kind.known is None or not (kind.dtype.is_integer and to.is_integer):
        return made
    return made.with_known(combine_known((kind,), kind.shape, to, known_integer))


@bit_cast.examples
def _() -> list[Node]:
    pairs = [
        (dtype, to)
        for dtype in BITS
        for to in BITS
        if dtype.bits == to.bits and (to is not DType.BOOL or dtype is to)
    ]
    known = bit_cast(constant([1, -1]), to=DType.UINT64)
    return [*(bit_cast(given("x", "N", 3, dtype=dtype), to=to) for dtype, to in pairs), known]


@op("Identity", facts=Facts(elementwise=True, moves=True, total=True, involution=True,
                            idempotent=True, monotone="increasing"))  # fmt: skip
def identity(xp: Xp, x: Array) -> Array:
    """x itself: a tensor, a sequence or an optional."""
    return x


@identity.infer
def _(x: Node) -> Type:
    return x.type


@identity.examples
def _() -> list[Node]:
    sequence = graph_input("s", SequenceType(TensorType(DType.FLOAT32, (2, 3))))
    examples = unary_examples(identity, (*NUMBERS, DType.STRING))
    return [*examples, identity(constant([1, 2])), identity(sequence)]


@op("Dropout", facts=Facts(signed_zero="passed", total=True))
def dropout(
    xp: Xp, x: Array, ratio: Array | None = None, training_mode: Array | None = None,
    *, seed: int | None = None, outputs: int = 1,
) -> Any:  # fmt: skip
    """x itself, and a mask of all true as second output: not in training, nothing is dropped.

    In training it draws random numbers and is no function of its inputs: that is refused.
    """
    return x if outputs == 1 else (x, xp.ones(x.shape, bool))


dropout.bounds(outputs("first", point(1)))


@dropout.infer
def _(
    x: Node, ratio: Node | None, training_mode: Node | None, *, seed: int | None, outputs: int
) -> Any:
    check_dtype(x, (*FLOATS, *FLOAT8))
    kind = x.tensor_type
    if training_mode is not None and training_mode.known != (False,):
        raise refuse("a Dropout that trains, or may, is not a function of its inputs")
    if ratio is not None:
        check_dtype(ratio, (*FLOATS, *FLOAT8))
    return kind if outputs == 1 else (kind, TensorType(DType.BOOL, kind.shape))


@dropout.examples
def _() -> list[Node]:
    x, ratio = given("x", "N", 3), constant(0.25, DType.FLOAT32)
    masked = dropout(x, ratio, constant(False), outputs=2)
    return [*unary_examples(dropout, FLOATS), dropout(x, ratio, seed=1), masked]
