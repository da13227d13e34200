"""Rules of Clip: clips of clips are one, bounds that never bind go, and other spellings of it.

Where a bound is 0, a zero may get its other sign: NumPy's maximum of 0.0 and -0.0 is either.
"""

from __future__ import annotations

from math import copysign, inf

from graphopt.analysis import same_shape
from graphopt.ir import Node
from graphopt.op import absent
from graphopt.ops.activation import relu
from graphopt.ops.arithmetic import clip, max_, min_
from graphopt.ops.cast import cast
from graphopt.ops.functions import sin
from graphopt.passes.algebra.elements import (
    anything,
    element_of,
    no_negative_zero,
    scalar,
)
from graphopt.ranges import facts_of
from graphopt.rewriting import (
    Const,
    Declined,
    Equations,
    Float,
    Guard,
    MaybeConst,
    Rule,
    Soundness,
    Value,
    guards,
    rules,
)
from graphopt.rewriting.examples import example, filled
from graphopt.types import DType

X = example("float32[2, 3]")
WIDER = (4, 1, 1)


def limit(dtype: DType, *, greatest: bool) -> float:
    """The greatest or least number of a dtype."""
    if dtype.is_float:
        return inf if greatest else -inf
    bits = dtype.bits - (dtype.kind == "i")
    return (1 << bits) - 1 if greatest else -(1 << bits) if dtype.kind == "i" else 0


def _bounds(x: Node, low: Node, high: Node) -> tuple[float, float] | None:
    """Two bounds as numbers, those left out as the limits of the dtype; None if one is NaN."""
    made = [
        limit(x.dtype, greatest=greatest) if bound.is_absent else element_of(bound)
        for bound, greatest in ((low, False), (high, True))
    ]
    return None if None in made or made[0] != made[0] or made[1] != made[1] else (made[0], made[1])


def _clip(x: Node, low: float, high: float) -> Node:
    """x between two numbers; a limit of the dtype is left out."""
    bounds = [
        absent if bound == limit(x.dtype, greatest=greatest) else scalar(x, bound)
        for bound, greatest in ((low, False), (high, True))
    ]
    made: Node = clip(x, *bounds)
    return made


def _signless(x: Node, *bounds: Node) -> bool:
    """Whether the sign of no zero depends on how a bound is applied."""
    numbers = [0.0 if b.constant is None else element_of(b) for b in bounds if not b.is_absent]
    zeros = [n for n in numbers if n == 0]
    positive = all(copysign(1, n) > 0 for n in zeros)
    return not zeros or (positive and not facts_of(x).may_be_negative_zero)


def _zero(*bounds: str) -> Guard:
    return Guard("no bound is 0, or x is never -0.0", _signless, ("x", *bounds))


def _signless_relu(x: Node, *bounds: Node) -> bool:
    """As `_signless`, where 0.0 is one more bound."""
    return not facts_of(x).may_be_negative_zero and _signless(x, *bounds)


def _rectified(*bounds: str) -> Guard:
    return Guard("x and the bounds are never -0.0", _signless_relu, ("x", *bounds))


def _composed(x: Node, a: Node, b: Node, c: Node, d: Node) -> Node | Declined:
    """clip(clip(x, a, b), c, d): what clips between its own bounds' clips."""
    first, second = _bounds(x, a, b), _bounds(x, c, d)
    if first is None or second is None:
        return Declined("all bounds are numbers")
    low, high = (min(max(bound, second[0]), second[1]) for bound in first)
    return _clip(x, low, high)


def _settled(x: Node, a: Node, b: Node, c: Node, d: Node) -> bool:
    """Whether two clips give a zero the sign that one gives it, or give none."""
    first, second = _bounds(x, a, b), _bounds(x, c, d)
    if first is not None and second is not None:
        if second[1] >= second[0] > 0 or second[0] <= second[1] < 0:
            return True
        if first[0] == second[0] == 0 and 0 not in (first[1], second[1]):
            return copysign(1, first[0]) == copysign(1, second[0])
    return _signless(x, a, b, c, d)


SETTLED = Guard("no zero has another sign", _settled, ("x", "a", "b", "c", "d"))


def _within(x: Node, low: Node, high: Node) -> bool:
    bounds, facts = _bounds(x, low, high), facts_of(x)
    return bounds is not None and bounds[0] <= facts.low and facts.high <= bounds[1]


@rules(Soundness.VALUE)
def clips(
    x: Value, f: Float, a: MaybeConst, b: MaybeConst, c: MaybeConst, d: MaybeConst, low: Const
) -> Equations:
    """clip(clip(x, a, b), c, d) is one clip, clip(x, a, b) = x where x lies between, ..."""
    yield Rule(
        "twice",
        clip(clip(x, a, b), c, d),
        _composed,
        unobserved=SETTLED,
        fires=lambda: clip(clip(X, filled(-1), filled(6)), filled(0.5), filled(9)),
        misses=lambda: clip(clip(X, filled(-1), example("float32[]", "h")), filled(0.5)),
    )
    yield Rule(
        "needless",
        clip(x, a, b),
        x,
        when=Guard("x lies between the bounds", _within, ("x", "a", "b")),
        unobserved=_zero("a", "b"),
        fires=lambda: clip(sin(X), filled(-1.5), filled(2)),
        misses=lambda: clip(X, filled(-1.5), filled(2)),
    )
    yield Rule(
        "of_relu",
        clip(relu(x), low, b),
        clip(x, low, b),
        when=Guard("the lower bound is at least 0", lambda low: _at_least_zero(low)),
        unobserved=_zero("low", "b"),
        fires=lambda: clip(relu(X), filled(1), filled(6)),
        misses=lambda: clip(relu(X), filled(-1), filled(6)),
    )
    yield Rule(
        "to_relu",
        clip(f, 0.0, b),
        relu(f),
        when=Guard("nothing is bounded above", lambda f, b: _unbounded(f, b)),
        unobserved=no_negative_zero("f"),
        fires=lambda: clip(_number(), filled(0), filled(inf)),
        misses=lambda: clip(_number(), filled(0), filled(1)),
    )


def _number() -> Node:
    """A float that is proven to be a number, and never -0.0."""
    made: Node = cast(example("int32[2, 3]"), to=DType.FLOAT32)
    return made


def _at_least_zero(low: Node) -> bool:
    element = element_of(low)
    return element is not None and element >= 0


def _unbounded(x: Node, high: Node) -> bool:
    bounds = _bounds(x, absent, high)
    return bounds is not None and bounds[1] == limit(x.dtype, greatest=True)


def _clip_between(x: Node, low: Node, high: Node) -> Node | Declined:
    bounds = _bounds(x, low, high)
    return Declined("both bounds are numbers") if bounds is None else _clip(x, *bounds)


def _clip_ordered(x: Node, low: Node, high: Node) -> Node | Declined:
    bounds = _bounds(x, low, high)
    if bounds is None or bounds[0] > bounds[1]:
        return Declined("both bounds are numbers, the lower one at most the upper one")
    return _clip(x, *bounds)


def _clip_relu(x: Node, high: Node) -> Node | Declined:
    bounds = _bounds(x, absent, high)
    return Declined("the bound is a number") if bounds is None else _clip(x, 0, bounds[1])


def _keeps(root: Node, x: Node, *bounds: Node) -> bool:
    return same_shape(root, x) or all(bound.rank == 0 for bound in bounds)


@rules(Soundness.VALUE)
def spellings(x: Float, low: Const, high: Const, inner: Value) -> Equations:
    """min(max(x, a), b) = clip(x, a, b), and so max(min(x, b), a) for a <= b."""
    for name, left, right, fires, misses in (
        ("min_max", min_(inner.of(max_(x, low)), high), _clip_between,
         lambda: min_(max_(X, filled(-1)), filled(6)),
         lambda: min_(max_(anything("float32"), filled(-1)), filled(6, *WIDER))),
        ("max_min", max_(inner.of(min_(x, high)), low), _clip_ordered,
         lambda: max_(min_(X, filled(6)), filled(-1)),
         lambda: max_(min_(anything("float32"), filled(6)), filled(-1, *WIDER))),
    ):  # fmt: skip
        yield Rule(
            name,
            left,
            right,
            when=Guard("nothing enlarges x", _keeps, ("root", "x", "low", "high")),
            worth=guards.used_once("inner"),
            unobserved=_zero("low", "high"),
            fires=fires,
            misses=misses,
        )
    yield Rule(
        "min_relu",
        min_(inner.of(relu(x)), high),
        _clip_relu,
        when=Guard("nothing enlarges x", _keeps, ("root", "x", "high")),
        worth=guards.used_once("inner"),
        unobserved=_rectified("high"),
        fires=lambda: min_(relu(_number()), filled(6)),
        misses=lambda: min_(relu(cast(anything("int32"), to=DType.FLOAT32)), filled(6, *WIDER)),
    )
    yield Rule(
        "relu_clip",
        relu(clip(x, low, high)),
        lambda x, low, high: _composed(x, low, high, scalar(x, 0), absent),
        unobserved=_rectified("low", "high"),
        fires=lambda: relu(clip(_number(), filled(-1), filled(6))),
        misses=lambda: relu(clip(X, filled(-1), filled(6))),
    )


CLIPS = clips + spellings
