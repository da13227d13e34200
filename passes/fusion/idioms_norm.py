"""Idioms of normalization: LayerNorm, RMSNorm and GroupNorm as exporters spell them out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from graphopt.analysis import same_shape
from graphopt.ir import Node
from graphopt.op import Op
from graphopt.ops.arithmetic import add, div, mul, power, sub, sum_
from graphopt.ops.functions import reciprocal, sqrt
from graphopt.ops.normalization import (
    group_normalization,
    instance_normalization,
    layer_normalization,
    rms_normalization,
)
from graphopt.ops.reduction import reduce_mean
from graphopt.ops.shape import reshape, shape
from graphopt.passes.fusion.idioms import Grouping, epsilon_of, last_axes, number, unused_outside
from graphopt.rewriting import (
    Attr,
    Const,
    Equations,
    Float,
    Guard,
    Maybe,
    Rule,
    Soundness,
    Value,
    rules,
)
from graphopt.rewriting.examples import example, filled, ints, weights
from graphopt.structural import constant
from graphopt.tensor import Tensor

SQUARES: Mapping[str, Callable[[Any, Any], Any]] = {
    "mul": lambda d, two: mul(d, d),
    "pow": power,
}
QUOTIENTS: Mapping[str, Callable[[Any, Any, Any], Any]] = {
    "div": lambda d, v, one: div(d, sqrt(v)),
    "reciprocal": lambda d, v, one: mul(d, reciprocal(sqrt(v))),
    "inverse": lambda d, v, one: mul(d, div(one, sqrt(v))),
}


def spellings(d: Any, again: Any, b: Any, e: Any, two: Any, one: Any) -> Iterator[tuple[str, Any]]:
    """d / sqrt(mean(d²) + e); `d` is where a pattern meets it first, `again` is what it is then."""
    for name, quotient in QUOTIENTS.items():
        for squared, square in SQUARES.items():
            variance = add(reduce_mean(square(again, two), b), e)
            yield f"{name}_{squared}", quotient(d, variance, one)


def affine(made: Any, s: Any, b: Any, parts: str) -> Any:
    """What is normalized, times a scale, plus a bias, as far as `parts` names them."""
    if "s" in parts:
        made = mul(made, s)
    return add(made, b) if "b" in parts else made


def _x() -> Node:
    return example("float32[N, 5, 4]")


def _spelled(
    spelling: str, parts: str, axes: tuple[Node, Node], shape: tuple[int, ...], kind: str = ""
) -> Node:
    """A normalization over some axes for the means, times and plus weights of a shape."""
    x = example(kind) if kind else _x()
    d = sub(x, reduce_mean(x, axes[0]))
    made = dict(spellings(d, d, axes[1], filled(1e-5), filled(2), filled(1)))[spelling]
    done: Node = affine(made, weights(*shape), weights(*shape, seed=1), parts)
    return done


def _layer_norm(spelling: str, parts: str, second: int = -1, shape: tuple[int, ...] = (4,)) -> Node:
    return _spelled(spelling, parts, (ints(-1), ints(second)), shape)


def _layer_form(x: Node, a: Node, e: Node, s: Node | None, b: Node | None) -> Node | None:
    """LayerNormalization, where scale and bias have the shape of the axes that are normalized."""
    first, epsilon, sizes = last_axes(a, x), epsilon_of(e, x), x.shape
    if first is None or epsilon is None or sizes is None:
        return None
    wanted = sizes[first:]
    fixed = tuple(size for size in wanted if isinstance(size, int))
    if s is None and fixed == wanted:
        s = constant(Tensor.splat(x.dtype, fixed, 1))
    if s is None or any(item is not None and item.shape != wanted for item in (s, b)):
        return None
    made: Node = layer_normalization(x, s, b, axis=first, epsilon=epsilon)
    return made


def _bare_form(x: Node, a: Node, e: Node) -> Node | None:
    return _layer_form(x, a, e, None, None)


def _scaled_form(x: Node, a: Node, e: Node, s: Node) -> Node | None:
    return _layer_form(x, a, e, s, None)


FORMS: Mapping[str, Callable[..., Node | None]] = {
    "": _bare_form,
    "s": _scaled_form,
    "sb": _layer_form,
}
"""The form of a LayerNorm by what it is multiplied by and added to."""


same_last_axes = Guard(
    "both means are over the same last axes",
    lambda x, a, c: last_axes(a, x) is not None and last_axes(a, x) == last_axes(c, x),
)


def _narrow(parts: str) -> Guard:
    """Whether scale and bias have no more axes than are normalized: a residual is no bias."""

    def test(x: Node, a: Node, *values: Node) -> bool:
        first = last_axes(a, x)
        return first is not None and all((v.rank or 0) <= -first for v in values)

    return Guard("scale and bias vary along these axes only", test, ("x", "a", *parts))


def layer_norm_rules(parts: str) -> Callable[..., Equations]:
    """The equations of LayerNorm with a scale (s), with a bias too (sb), or with neither."""

    def layer_norm(
        x: Float, d: Float, s: Float, b: Float, a: Const, c: Const, e: Const
    ) -> Equations:
        """(x - mean x) / sqrt(mean (x - mean x)² + e) * s + b = LayerNormalization(x, s, b)"""
        centered = d.of(sub(x, reduce_mean(x, a)))
        for name, left in spellings(centered, d, c, e, 2.0, 1.0):
            leaves = ("x", *parts)
            yield Rule(
                name,
                affine(left, s, b, parts),
                Grouping("LayerNormalization", leaves, FORMS[parts]),
                when=(same_last_axes, _narrow(parts)) if parts else same_last_axes,
                worth=unused_outside(*leaves),
                fires=partial(_layer_norm, name, parts, 2),
                misses=(
                    partial(_layer_norm, name, parts, 1),
                    partial(_layer_norm, name, parts, shape=(5, 4)),
                )[: 1 + bool(parts)],
            )

    layer_norm.__name__ = f"layer_norm{'_' if parts else ''}{parts}"
    return layer_norm


layer_norm_sb = rules(Soundness.ROUNDING)(layer_norm_rules("sb"))
layer_norm_s = rules(Soundness.ROUNDING)(layer_norm_rules("s"))
layer_norm = rules(Soundness.ROUNDING)(layer_norm_rules(""))


def _rms_form(x: Node, c: Node, e: Node, s: Node | None) -> Node | None:
    """RMSNormalization, where the scale has the shape of the axes that are normalized."""
    first, epsilon, sizes = last_axes(c, x), epsilon_of(e, x), x.shape
    if first is None or epsilon is None or sizes is None or s is None or s.shape != sizes[first:]:
        return None
    made: Node = rms_normalization(x, s, axis=first, epsilon=epsilon)
    return made


def _rms_norm(spelling: str, parts: str, axis: int) -> Node:
    x = _x()
    made = dict(spellings(x, x, ints(axis), filled(1e-5), filled(2), filled(1)))[spelling]
    done: Node = affine(made, weights(4), None, parts)
    return done


def rms_norm_rules(parts: str) -> Callable[..., Equations]:
    """The equations of RMSNorm with a scale (s) or without."""

    def rms_norm(x: Float, s: Float, c: Const, e: Const) -> Equations:
        """x / sqrt(mean x² + e) * s = RMSNormalization(x, s)"""
        for name, left in spellings(x, x, c, e, 2.0, 1.0):
            leaves = ("x", *parts)
            yield Rule(
                name,
                affine(left, s, None, parts),
                Grouping("RMSNormalization", leaves, _rms_form if parts else None),
                when=Guard(
                    "the mean is over the last axes", lambda x, c: last_axes(c, x) is not None
                ),
                worth=unused_outside(*leaves),
                fires=partial(_rms_norm, name, parts, -1),
                misses=partial(_rms_norm, name, parts, 1),
            )

    rms_norm.__name__ = f"rms_norm{'_' if parts else ''}{parts}"
    return rms_norm


rms_norm_s = rules(Soundness.ROUNDING)(rms_norm_rules("s"))
rms_norm = rules(Soundness.ROUNDING)(rms_norm_rules(""))


def per_channel(value: Node, x: Node) -> Node | None:
    """A constant that varies along axis 1 of x alone, as a vector of its channels."""
    tensor, sizes = value.constant, x.shape
    if tensor is None or sizes is None or not isinstance(channels := sizes[1], int):
        return None
    aligned = (1,) * (len(sizes) - len(tensor.shape)) + tensor.shape
    if aligned != (1, channels, *(1,) * (len(sizes) - 2)):
        return None
    return constant(Tensor.of(tensor.array.reshape(channels), tensor.dtype))


def over_space(axes: Node, x: Node) -> bool:
    """Whether axes are all those of x but for its batch and channels."""
    known, rank = axes.ints, x.rank
    if not known or rank is None or rank < 3:
        return False
    return sorted(axis % rank for axis in known) == list(range(2, rank))


def _instance_form(x: Node, e: Node, s: Node, b: Node) -> Node | None:
    scale, bias, epsilon = per_channel(s, x), per_channel(b, x), epsilon_of(e, x)
    if scale is None or bias is None or epsilon is None:
        return None
    made: Node = instance_normalization(x, scale, bias, epsilon=epsilon)
    return made


def _instance_norm(
    spelling: str, second: tuple[int, ...] = (2, 3), shape: tuple[int, ...] = (4, 1, 1)
) -> Node:
    axes = ints(2, 3), ints(*second)
    return _spelled(spelling, "sb", axes, shape, "float32[N, 4, 3, 4]")


@rules(Soundness.ROUNDING)
def instance_norm(
    x: Float, d: Float, s: Const, b: Const, a: Const, c: Const, e: Const
) -> Equations:
    """(x - mean x) / sqrt(mean (x - mean x)² + e) * s + b over all but the first two axes"""
    centered = d.of(sub(x, reduce_mean(x, a)))
    for name, left in spellings(centered, d, c, e, 2.0, 1.0):
        yield Rule(
            name,
            affine(left, s, b, "sb"),
            Grouping("InstanceNormalization", ("x",), _instance_form),
            when=(
                Guard(
                    "both means are over all axes but the first two",
                    lambda x, a, c: over_space(a, x) and over_space(c, x),
                ),
                Guard(
                    "scale and bias are one number a channel",
                    lambda x, s, b: None not in (per_channel(s, x), per_channel(b, x)),
                ),
            ),
            worth=unused_outside("x"),
            fires=partial(_instance_norm, name),
            misses=(
                partial(_instance_norm, name, second=(1, 2)),
                partial(_instance_norm, name, shape=(4,)),
            ),
        )


def groups_of(x: Node, inner: Node) -> int | None:
    """Into how many groups of channels a reshape to (N, groups, ...) splits x, None if it does not.

    Both must begin with the same axis N, and the groups divide the channels.
    """
    sizes, made = x.shape, inner.shape
    if sizes is None or made is None or len(sizes) < 3 or len(made) < 3 or sizes[0] != made[0]:
        return None
    channels, groups = sizes[1], made[1]
    if not isinstance(channels, int) or not isinstance(groups, int) or not groups:
        return None
    return groups if channels % groups == 0 else None


def _group_form(x: Node, n: Node, u: Node, z: Node, e: float, s: Node, b: Node) -> Node | None:
    groups = groups_of(x, n)
    scale, bias = per_channel(s, x), per_channel(b, x)
    if number(u) != 1 or number(z) != 0 or None in (groups, scale, bias):
        return None
    made: Node = group_normalization(x, scale, bias, num_groups=groups, epsilon=e)
    return made


def _group_norm(*sizes: int) -> Node:
    x = example("float32[N, 4, 3, 2]")
    inner = instance_normalization(reshape(x, ints(*sizes)), filled(1, 2), filled(0, 2))
    back = reshape(inner, shape(x))
    made: Node = add(mul(back, weights(4, 1, 1)), weights(4, 1, 1, seed=1))
    return made


@rules(Soundness.ROUNDING)
def group_norm(
    x: Float, n: Float, m: Float, k: Value, t: Value, u: Const, z: Const, s: Const, b: Const,
    e: Attr,
) -> Equations:  # fmt: skip
    """reshape(InstanceNorm(reshape(x, [N, G, -1]))) * s + b = GroupNormalization(x, s, b)"""
    normal = instance_normalization(n.of(reshape(x, k)), u, z, epsilon=e)
    yield Rule(
        "instance_norm",
        add(mul(m.of(reshape(normal, t)), s), b),
        Grouping("GroupNormalization", ("x", "k", "t"), _group_form),
        when=Guard(
            "the channels are split into groups and put together again",
            lambda x, n, m: groups_of(x, n) is not None and same_shape(x, m),
        ),
        worth=unused_outside("x", "k", "t"),
        fires=partial(_group_norm, 0, 2, -1),
        misses=partial(_group_norm, 4, 2, -1),
    )


def _summed_first(op: Op) -> Node:
    x, y = example("float32[N, 3]"), example("float32[N, 3]", "y")
    made: Node = layer_normalization(op(x, y), example("float32[3]", "s"))
    return made


def _of_sum(x: Node, y: Node, s: Node, b: Node, a: int, e: float) -> Node:
    made: Node = layer_normalization(sum_(x, y), s, b, axis=a, epsilon=e)
    return made


@rules(Soundness.EXACT)
def residual_norms(x: Float, y: Float, n: Float, s: Float, b: Maybe, a: Attr, e: Attr) -> Equations:
    """LayerNormalization(x + y) is written with Sum(x, y)

    Of an Add there ONNX Runtime makes SkipLayerNormalization, which takes longer than both.
    """
    yield Rule(
        "sum",
        layer_normalization(n.of(add(x, y)), s, b, axis=a, epsilon=e),
        Grouping("SkipLayerNormalization", ("x", "y", "s", "b"), _of_sum),
        worth=unused_outside("x", "y", "s", "b"),
        fires=partial(_summed_first, add),
        misses=partial(_summed_first, sub),
    )


FIRST = instance_norm + layer_norm_sb + group_norm
SECOND = layer_norm_s + rms_norm_s
THIRD = layer_norm + rms_norm
LAST = residual_norms
"""What embeddings are, too."""
