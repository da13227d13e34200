"""Rules of casts: of one cast after another only what counts stays."""

from __future__ import annotations

from graphopt.ir import Node
from graphopt.ops.cast import bit_cast, cast, cast_like
from graphopt.ranges import facts_of
from graphopt.rewriting import (
    Attr,
    Declined,
    Equations,
    Rule,
    Soundness,
    Value,
    rules,
)
from graphopt.rewriting.examples import example
from graphopt.types import DType

FLOATS = {  # bits of the fraction with the leading one, greatest and least exponent
    DType.FLOAT16: (11, 15, -14),
    DType.BFLOAT16: (8, 127, -126),
    DType.FLOAT32: (24, 127, -126),
    DType.FLOAT64: (53, 1023, -1022),
}
INTEGERS = tuple(dtype for dtype in DType if dtype.is_integer and dtype.bits >= 8)
ORDINARY = frozenset({*FLOATS, *INTEGERS, DType.BOOL})


def limits(dtype: DType) -> tuple[int, int]:
    """The least and the greatest element of a dtype of integers or bools."""
    if dtype is DType.BOOL:
        return 0, 1
    low = -(1 << (dtype.bits - 1)) if dtype.kind == "i" else 0
    return low, low + (1 << dtype.bits) - 1


def lossless(old: DType, new: DType) -> bool:
    """Whether every element of one dtype is an element of another."""
    if old in FLOATS and new in FLOATS:
        fraction, most, least = FLOATS[old]
        wide, high, low = FLOATS[new]
        return fraction <= wide and most <= high and least >= low
    if old in FLOATS or new is DType.BOOL:
        return old is new
    low, high = limits(old)
    if new in FLOATS:
        bits = 1 << FLOATS[new][0]
        return -bits <= low and high <= bits
    return limits(new)[0] <= low and high <= limits(new)[1]


def fits(x: Node, dtype: DType) -> bool:
    """Whether every element of a value of integers is one of a dtype."""
    if x.dtype not in INTEGERS or dtype not in ORDINARY:
        return False
    facts = facts_of(x)
    if dtype in FLOATS:
        most = min(1 << FLOATS[dtype][0], 1 << FLOATS[dtype][1])
        return -most <= facts.low and facts.high <= most
    low, high = limits(dtype)
    return dtype is not DType.BOOL and low <= facts.low and facts.high <= high


def together(x: Node, inner: Node, root: Node) -> Node | Declined | None:
    """Two casts as one, or none."""
    first, middle, last = x.dtype, inner.dtype, root.dtype
    if not {first, middle, last} <= ORDINARY:
        return Declined("a dtype is not an ordinary one")
    if not _through(x, middle, last):
        return Declined(f"{middle} does not keep what {last} has of {first}")
    made: Node = cast(x, to=last)
    return x if first is last else made


def _through(x: Node, middle: DType, last: DType) -> bool:
    """Whether a cast to `last` gives the same with one to `middle` before it."""
    first = x.dtype
    if first in INTEGERS and middle in INTEGERS and last in INTEGERS and last.bits <= middle.bits:
        return True  # both keep the lower bits
    if not (lossless(first, middle) or fits(x, middle)):
        return False
    if last in INTEGERS and middle in FLOATS:  # of what does not fit, a cast makes anything
        return lossless(first, last) or fits(x, last)
    return True


def relabelled(x: Node, root: Node) -> Node:
    """The bits of bits: x, where they are its own."""
    made: Node = bit_cast(x, to=root.dtype)
    return x if x.dtype is root.dtype else made


@rules(Soundness.EXACT)
def casts(x: Value, y: Value, inner: Value, a: Attr, b: Attr, c: Attr) -> Equations:
    """A cast that keeps every element may be left out before another; bits of bits are bits."""

    def twice(kind: str, middle: DType, last: DType) -> Node:
        made: Node = cast(cast(example(f"{kind}[N]"), to=middle), to=last)
        return made

    yield Rule(
        "cast",
        cast(inner.of(cast(x, to=a)), to=b),
        together,
        fires=lambda: twice("float16", DType.FLOAT32, DType.FLOAT16),
        misses=lambda: twice("float32", DType.FLOAT16, DType.FLOAT32),
    )
    yield Rule(
        "bits",
        bit_cast(bit_cast(x, to=a), to=b),
        relabelled,
        fires=lambda: bit_cast(bit_cast(example("float32[N]"), to=DType.INT32), to=DType.UINT32),
        misses=lambda: cast(bit_cast(example("float32[N]"), to=DType.INT32), to=DType.FLOAT32),
    )
    yield Rule(
        "own_bits",
        bit_cast(x, to=b),
        x,
        fires=lambda: bit_cast(example("int32[N]"), to=DType.INT32),
        misses=lambda: bit_cast(example("float32[N]"), to=DType.INT32),
    )
    yield Rule(
        "like",
        cast_like(x, y, attrs=c),
        lambda x, y, c: cast(x, to=y.dtype, **c),
        fires=lambda: cast_like(example("float32[N]"), example("int8[3]", "y")),
        misses=lambda: cast(example("float32[N]"), to=DType.INT8),
    )


CASTS = casts
