"""Idioms of transformers: softmax spelled out, attention, embeddings, rotary positions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from graphopt.analysis import same_shape
from graphopt.body import Body
from graphopt.dims import Size
from graphopt.fusion import between, fuse, used_outside
from graphopt.ir import Node
from graphopt.ops.arithmetic import add, div, mul, sub
from graphopt.ops.attention import attention
from graphopt.ops.functions import exp, log
from graphopt.ops.fused import fused
from graphopt.ops.linalg import matmul
from graphopt.ops.logic import is_nan, where
from graphopt.ops.movement import transpose
from graphopt.ops.reduction import reduce_log_sum_exp, reduce_max, reduce_sum
from graphopt.ops.softmax import log_softmax, softmax
from graphopt.passes.fusion.idioms import Grouping, number, unused_outside
from graphopt.refine import refines
from graphopt.rewriting import (
    Attr,
    Const,
    Declined,
    Equations,
    Float,
    Guard,
    Rule,
    Soundness,
    rules,
)
from graphopt.rewriting.examples import example, filled, ints


def one_axis(axes: Node, x: Node) -> int | None:
    """The only axis that a reduction takes, counted from the front; None where it is not known."""
    known = axes.ints
    if known is None or len(known) != 1 or x.rank is None:
        return None
    return known[0] % x.rank


same_axis = Guard(
    "the maximum and the sum are over the same axis",
    lambda x, a, c: one_axis(a, x) is not None and one_axis(a, x) == one_axis(c, x),
)


def _along(op: Any) -> Callable[..., Node | None]:
    def form(x: Node, c: Node) -> Node | None:
        axis = one_axis(c, x)
        made: Node | None = None if axis is None else op(x, axis=axis)
        return made

    return form


def _x() -> Node:
    return example("float32[N, 3, 4]")


def _shifted(axis: int) -> Node:
    made: Node = sub(_x(), reduce_max(_x(), ints(axis)))
    return made


def _shares(powers: Node) -> Node:
    made: Node = div(powers, reduce_sum(powers, ints(-1)))
    return made


def _spelled_sum(x: Any, axes: Any) -> Any:
    return log(reduce_sum(exp(x), axes))


@rules(Soundness.ROUNDING)
def log_softmaxes(x: Float, t: Float, a: Const, c: Const) -> Equations:
    """x - max x - log(sum(exp(x - max x))) = LogSoftmax(x)"""

    def shown(total: Callable[[Any, Any], Any], axis: int) -> Node:
        below = _shifted(axis)
        made: Node = sub(below, total(below, ints(-1)))
        return made

    for name, total in (("stable", _spelled_sum), ("summed", reduce_log_sum_exp)):
        yield Rule(
            name,
            sub(t.of(sub(x, reduce_max(x, a))), total(t, c)),
            Grouping("LogSoftmax", ("x",), _along(log_softmax)),
            when=same_axis,
            worth=unused_outside("x"),
            fires=partial(shown, total, 2),
            misses=partial(shown, total, 1),
        )


@rules(Soundness.ROUNDING)
def softmaxes(x: Float, p: Float, a: Const, c: Const) -> Equations:
    """exp(x - max x) / sum(exp(x - max x)) = Softmax(x)"""
    yield Rule(
        "stable",
        div(p.of(exp(sub(x, reduce_max(x, a)))), reduce_sum(p, c)),
        Grouping("Softmax", ("x",), _along(softmax)),
        when=same_axis,
        worth=unused_outside("x"),
        fires=lambda: _shares(exp(_shifted(2))),
        misses=lambda: _shares(exp(_shifted(1))),
    )
    yield Rule(
        "plain",
        div(p.of(exp(x)), reduce_sum(p, c)),
        Grouping("Softmax", ("x",), _along(softmax)),
        when=Guard("the sum is over one axis", lambda x, c: one_axis(c, x) is not None),
        worth=unused_outside("x"),
        fires=lambda: _shares(exp(_x())),
        misses=lambda: div(exp(_x()), reduce_sum(exp(_x()), ints(1, 2))),
    )


@dataclass(frozen=True)
class Scores:
    """softmax's argument taken apart: queries (…, i, d) times keys (…, d, j), scaled, plus a mask.

    The mask may choose between the product and a number, too. `scale` is None where the operator
    cannot have it: no number, or such a mask.
    """

    inner: tuple[Node, ...]
    queries: Node
    keys: Node
    mask: Node | None
    scale: float | None

    @property
    def leaves(self) -> tuple[Node, ...]:
        """What they are computed of."""
        mask = () if self.mask is None else (self.mask,)
        return (self.queries, self.keys, *mask)


def scores_of(value: Node) -> Scores | None:
    """The scores that a value is, None where it is none."""
    found = _scaled(value)
    if found is not None:
        return found
    added, chosen = value.op is add, value.op is where
    for inner, other in pairs(value.inputs[-2:]) if added or chosen else ():
        found = _scaled(inner)
        if found is not None and added:
            return replace(found, inner=(value, *found.inner), mask=other)
        if found is not None and number(other) is not None:
            return replace(found, inner=(value, *found.inner), mask=value.inputs[0], scale=None)
    return None


def pairs(both: tuple[Node, ...]) -> tuple[tuple[Node, Node], ...]:
    """Two operands in both orders."""
    one, other = both
    return (one, other), (other, one)


def _scaled(value: Node) -> Scores | None:
    """A product of queries and keys, scaled before or behind it."""
    behind, factor, parts = _without_factor(value)
    if behind.op is not matmul:
        return None
    (q, k), scale = behind.inputs, factor
    parts += (behind,)
    made: list[Node] = []
    for item in (q, k):
        base, factor, scaled = _without_factor(item)
        made.append(base)
        parts += scaled
        scale = None if scale is None or factor is None else scale * factor
    return Scores(parts, made[0], made[1], None, scale)


def _without_factor(value: Node) -> tuple[Node, float | None, tuple[Node, ...]]:
    """(what is scaled, the factor, the node that does it)."""
    if value.op is mul or value.op is div:
        x, c = value.inputs
        if value.op is mul and x.constant is not None:
            x, c = c, x
        factor = number(c)
        if factor:
            return x, factor if value.op is mul else 1 / factor, (value,)
    return value, 1.0, ()


def attention_group(root: Node, s: Node, v: Node, uses: Callable[[Node], int]) -> Node | Declined:
    """The fused node of an attention that ends at `root`: `s` goes into its softmax."""
    found = scores_of(s)
    if found is None:
        return Declined("the scores are no product of queries and keys")
    inner = list(dict.fromkeys((*between(root, (s, v)), *found.inner)))
    if found.keys.op is transpose and uses(found.keys) == 1:
        inner.append(found.keys)
    if used_outside(inner, root, uses):
        return Declined("something inside is used elsewhere")
    form = _attention_form(found, v, inner)
    if form is not None and not same_shape(form, root):
        form = None
    made = fuse(root, inner, "Attention", form)
    return made if refines(made, root) else Declined("the type would be less known")


def _is_whole(mask: Node, queries: Size, keys: Size) -> bool:
    """Whether a mask has a row for each query and a column for each key, as runtimes want it.

    A shorter one would be continued by -inf, not broadcast.
    """
    sizes = mask.shape
    return sizes is not None and len(sizes) in (2, 4) and sizes[-2:] == (queries, keys)


def _attention_form(found: Scores, v: Node, inner: Sequence[Node]) -> Node | None:
    """Attention of 4-d queries, keys and values; its keys are not transposed."""
    q, k, mask = found.queries, found.keys, found.mask
    sizes, keys, values = q.shape, k.shape, v.shape
    if sizes is None or keys is None or values is None:
        return None
    if not len(sizes) == len(keys) == len(values) == 4 or found.scale is None or found.scale <= 0:
        return None
    if not sizes[:2] == keys[:2] == values[:2]:
        return None  # MatMul would broadcast them
    if mask is not None and not _is_whole(mask, sizes[2], keys[-1]):
        return None
    swap, base = (0, 1, 3, 2), k
    if k in inner:
        perm = k.attrs.get("perm", (3, 2, 1, 0))
        base, swap = k.inputs[0], tuple(perm[axis] for axis in swap)
    turned = base if swap == (0, 1, 2, 3) else transpose(base, perm=swap)
    made: Node = attention(q, turned, v, mask, scale=found.scale)
    return made


def _attention(spelling: Callable[[Node], Node], *, masked: bool = True) -> Node:
    q, k, v = (
        example(f"float32[N, 2, {n}, 4]", name) for n, name in ((3, "q"), (5, "k"), (5, "v"))
    )
    scores = mul(matmul(q, transpose(k, perm=(0, 1, 3, 2))), filled(0.5))
    made: Node = matmul(
        spelling(add(scores, example("float32[N, 1, 3, 5]", "m")) if masked else scores), v
    )
    return made


def _without_nan(scores: Node, axis: int = -1) -> Node:
    shares = softmax(scores, axis=axis)
    made: Node = where(is_nan(shares), filled(0), shares)
    return made


def _is_last(s: Node, f: Body | None) -> bool:
    return f is not None and f.outputs[0].attrs.get("axis", -1) in (-1, (s.rank or 0) - 1)


def _fused_softmax(scores: Node, axis: int = 3) -> Node:
    powers = exp(sub(scores, reduce_max(scores, ints(axis))))
    root = div(powers, reduce_sum(powers, ints(axis)))
    return fuse(root, between(root, (scores,)), "Softmax", softmax(scores, axis=axis))


@rules(Soundness.ROUNDING)
def attentions(s: Float, v: Float, p: Float, a: Attr, b: Attr, f: Attr) -> Equations:
    """softmax(q kᵀ * scale + mask) v = Attention(q, k, v, mask) {scale}"""
    last = Guard("the softmax is over the last axis", lambda s, a: a in (-1, (s.rank or 0) - 1))
    spellings: tuple[tuple[str, Any, Callable[..., Node]], ...] = (
        ("softmax", softmax(s, axis=a), softmax),
        ("masked", where(is_nan(p.of(softmax(s, axis=a))), 0.0, p), _without_nan),
    )
    for name, shares, spelled in spellings:
        yield Rule(
            name,
            matmul(shares, v),
            attention_group,
            when=last,
            fires=partial(_attention, spelled),
            misses=partial(_attention, partial(spelled, axis=2)),
        )
    yield Rule(
        "spelled_out",
        matmul(fused(s, kind="Softmax", body=b, form=f), v),
        attention_group,
        when=Guard("the softmax is over the last axis", _is_last),
        fires=partial(_attention, _fused_softmax),
        misses=partial(_attention, partial(_fused_softmax, axis=2)),
    )


FIRST = log_softmaxes
SECOND = softmaxes
THIRD = attentions
