"""What a rule's class promises, judged on arrays: bits, values, or the error beside an oracle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphopt.backends.reference import evaluate, evaluate_all
from graphopt.body import all_nodes
from graphopt.errors import GraphoptError
from graphopt.fusion import form_of, opened
from graphopt.ir import Node, rebuild, walk
from graphopt.ops.arithmetic import add
from graphopt.ops.functions import neg
from graphopt.ops.fused import fused
from graphopt.refine import refines
from graphopt.rewriting.rule import Math, Rule, Soundness
from graphopt.rewriting.sweep import Sweep
from graphopt.structural import constant, graph_input
from graphopt.tensor import Tensor
from graphopt.types import DType, TensorType
from tests.passes.instances import Instance, named_sizes

Array = np.ndarray[Any, np.dtype[Any]]
SPECIAL = (0.0, -0.0, 1.0, -1.0, 0.5, 2.0, np.inf, -np.inf, np.nan)
CONTRACTIONS = frozenset(
    "MatMul Gemm Conv ConvTranspose Einsum BatchNormalization ReduceSum ReduceMean ReduceProd Sum"
    " Mean ReduceL1 ReduceL2 ReduceSumSquare ReduceLogSum ReduceLogSumExp Softmax LogSoftmax"
    " LayerNormalization RMSNormalization InstanceNormalization GroupNormalization AveragePool"
    " GlobalAveragePool Attention".split()
)
UNIT = {DType.FLOAT16: 2.0**-11, DType.BFLOAT16: 2.0**-8, DType.FLOAT32: 2.0**-24}


class Once:
    """Every value is used once, and every sign is seen."""

    def __call__(self, node: Node) -> int:
        return 1

    def unseen(self, node: Node) -> bool:
        return False


ONCE = Once()


def rewritten(rule: Rule, roots: Sequence[Node]) -> tuple[tuple[Node, ...], int]:
    """The roots after a sweep of one rule, and how often it was applied."""
    math = Math.FAST if rule.soundness is Soundness.FAST else Math.DEFAULT

    def rewrite(node: Node) -> tuple[Node, str] | None:
        made = rule.apply(node, math, ONCE)
        return (made, rule.key) if made is not None and refines(made, node) else None

    sweep = Sweep(rewrite)
    made = sweep.run(tuple(roots))
    return made, sweep.counts[rule.key]


def draw(node: Node, sizes: dict[str, int], rng: np.random.Generator, kind: str) -> Array:
    """An array for an input: "special" has all that is odd, "wide" what is between 2^-32 and 2^32.

    Small integers stand for indices as well, so that most are taken.
    """
    sizes_of = (2, 3) if node.shape is None else node.shape
    shape = [s if isinstance(s, int) else sizes.get(str(s), 2) for s in sizes_of]
    dtype = node.dtype
    if dtype is DType.BOOL:
        return rng.random(shape) < 0.5
    if dtype.is_integer:
        info = np.iinfo(dtype.numpy)
        array = rng.integers(0 if dtype.kind == "u" else -9, 10, shape).astype(dtype.numpy)
        return _sprinkled(array, (info.min, info.max, info.min + 1), rng, kind == "special")
    if kind == "wide":
        reach = 6 if dtype is DType.FLOAT16 else 32
        made = np.exp2(rng.uniform(-reach, reach, shape)) * rng.choice((-1, 1), shape)
        return np.asarray(made).astype(dtype.numpy)
    if kind == "tame":
        return rng.uniform(0.5, 2, shape).astype(dtype.numpy)
    array = rng.standard_normal(shape).astype(dtype.numpy)
    tiny = float(np.finfo(np.float32).tiny) / 8 if dtype.bits >= 32 else 2.0**-24
    odd = (*SPECIAL, tiny, -tiny, float(np.asarray(6e4 if dtype is DType.FLOAT16 else 3e38)))
    return _sprinkled(array, odd, rng, kind == "special")


def _sprinkled(array: Array, odd: Sequence[Any], rng: np.random.Generator, wanted: bool) -> Array:
    if wanted and array.size:
        flat = array.reshape(-1)
        places = rng.integers(0, flat.size, max(1, flat.size // 2))
        flat[places] = np.array(rng.choice(np.array(odd), places.size)).astype(array.dtype)
    return array


Feeds = dict[Node, Array]


def by_forms(roots: Sequence[Node]) -> tuple[Node, ...]:
    """The roots with the forms of fused nodes in the place of their bodies."""

    def rewrite(node: Node) -> tuple[Node, str] | None:
        form = form_of(node) if node.op is fused else None
        return None if form is None else (form, "form")

    return Sweep(rewrite).run(tuple(roots))


def unfused(root: Node) -> Node:
    """The root with the bodies of fused nodes in their place."""

    def rewrite(node: Node) -> tuple[Node, str] | None:
        return (opened(node)[0], "body") if node.op is fused else None

    return Sweep(rewrite).run((root,))[0]


def nameless(roots: Sequence[Node]) -> bool:
    """Whether a fused node has no form: what guards it decides on its name alone."""
    return any(node.op is fused and form_of(node) is None for node in walk(roots))


def feeds_for(instance: Instance, size: int, seed: int, kind: str) -> Feeds:
    """Arrays for the inputs of an instance, every named size the same."""
    rng = np.random.default_rng(seed)
    sizes = dict.fromkeys(named_sizes(instance.inputs), size)
    return {node: draw(node, sizes, rng, kind) for node in instance.inputs}


def run(roots: Sequence[Node], feeds: Feeds) -> tuple[Array, ...]:
    """The values of the roots."""
    return evaluate_all(list(walk(roots)), tuple(roots), dict(feeds))


def judge(rule: Rule, before: Sequence[Node], after: Sequence[Node], feeds: Feeds) -> str:
    """What is wrong with the values after a rule, "" if nothing is."""
    try:
        left = run(before, feeds)
    except GraphoptError:
        return ""  # the original fails: anything may become of it
    try:
        right = run(after, feeds)
    except GraphoptError as error:
        return f"fails: {error}"
    for k, (old, new) in enumerate(zip(left, right, strict=True)):
        if old.dtype != new.dtype or old.shape != new.shape:
            return f"{old.dtype}{old.shape} became {new.dtype}{new.shape}"
        if wrong := _difference(rule, before[k], old, new, feeds):
            return wrong
    return ""


def _difference(rule: Rule, root: Node, old: Array, new: Array, feeds: Feeds) -> str:
    if same_bits(old, new):
        return ""
    if rule.soundness is Soundness.EXACT or old.dtype.kind not in "fV":
        return f"bits differ: {old} became {new}"
    if rule.soundness is Soundness.VALUE:
        x, y = old.astype(np.float64), new.astype(np.float64)
        return "" if np.array_equal(x, y, equal_nan=True) else f"values differ: {old} became {new}"
    return _beyond(root, old, new, feeds, rule.soundness)


def same_bits(old: Array, new: Array) -> bool:
    """Whether two arrays have equal bits; one NaN is as good as another."""
    if old.dtype.kind not in "fV":
        return old.tobytes() == new.tobytes()
    nan = np.isnan(old.astype(np.float64))
    if not np.array_equal(nan, np.isnan(new.astype(np.float64))):
        return False
    return np.where(nan, 0, old).tobytes() == np.where(nan, 0, new).tobytes()


def _beyond(root: Node, old: Array, new: Array, feeds: Feeds, soundness: Soundness) -> str:
    """How a result lies beyond the error that its class allows, "" where it does not."""
    root = unfused(root)
    x, y = old.astype(np.float64), new.astype(np.float64)
    finite = np.isfinite(x)
    if not np.isfinite(y[finite]).all() or np.isnan(y[~np.isnan(x)]).any():
        return f"{old} became {new}"
    unit = UNIT.get(root.dtype, 2.0**-53)
    oracle = widened(root, feeds) if unit > 2.0**-53 else None
    exact = x if oracle is None else oracle
    size = max([array.size for array in feeds.values()] + [held_size(root)])
    magnitude = np.maximum(np.abs(exact), np.abs(x))
    if any(node.op.name in CONTRACTIONS for node in walk((root,))):
        whole = widened(root, feeds, absolute=True)
        bound = (8 + size) * unit * (magnitude + (0 if whole is None else np.abs(whole)))
    else:
        error = np.abs(x - exact) if oracle is not None else 2 * unsteadiness(root, feeds)
        bound = error + 2 * unit * magnitude
    if soundness is Soundness.FAST:
        bound = bound + 64 * (8 + size) * unit * magnitude
    tiniest = float(np.finfo(np.float32).tiny) if root.dtype.bits >= 32 else 2.0**-14
    beyond = np.abs(y - exact) > bound + tiniest * unit
    return f"{x} became {y}, exact is {exact}" if (beyond & finite).any() else ""


def unsteadiness(root: Node, feeds: Feeds) -> Array:
    """How far a result in float64 moves when each operation rounds another way.

    It stands for the error where nothing is more exact (Monte Carlo arithmetic, D. S. Parker 1997).
    """
    rng = np.random.default_rng(0)
    nodes = list(walk((root,)))
    made: list[Array] = []
    for _ in range(8):
        known: dict[Node, Any] = {}
        with np.errstate(all="ignore"):
            for node in nodes:
                if node in feeds:
                    known[node] = feeds[node]
                    continue
                known[node] = value = evaluate(node, [known[item] for item in node.inputs])
                if getattr(value, "dtype", None) == np.float64:
                    known[node] = value * (1 + rng.uniform(-1, 1, value.shape) * 2.0**-52)
        made.append(known[root])
    return np.asarray(np.ptp(np.array(made), axis=0))


def held_size(root: Node) -> int:
    """The size of the largest constant under a root."""
    return max((n.constant.size for n in walk((root,)) if n.constant is not None), default=1)


def widened(root: Node, feeds: Feeds, *, absolute: bool = False) -> Array | None:
    """The root computed in float64; `absolute`: of magnitudes, with sums for differences.

    The latter is what the textbook bound of a contraction is relative to: |A| |B|.
    """
    wide: dict[Node, Array] = {}

    def change(node: Node) -> Node | None:
        kind = node.derived_type
        narrow = isinstance(kind, TensorType) and kind.dtype.is_float
        if not narrow or not isinstance(kind, TensorType):
            if node.op.name == "Input":
                wide[node] = feeds[node]
            return None
        if (held := node.constant) is not None:
            array = held.array.astype(np.float64)
            return constant(Tensor.of(np.abs(array) if absolute else array))
        if node.op.name != "Input":
            return None
        made = graph_input(node.attrs["name"], kind.with_dtype(DType.FLOAT64))
        array = feeds[node].astype(np.float64)
        wide[made] = np.abs(array) if absolute else array
        return made

    try:
        (made,) = rebuild((root,), change)
        if absolute:
            made = _summed(made)
        if any(n.op.name == "Cast" for n in all_nodes((root,))):
            return None
        return run((made,), wide)[0].astype(np.float64)
    except GraphoptError:
        return None


def _summed(root: Node) -> Node:
    """The root with sums for differences, those that normalizations make included."""
    made: dict[Node, Node] = {}
    for node in walk((root,)):
        inputs = tuple(made[item] for item in node.inputs)
        if node.op.name == "Sub":
            made[node] = add(*inputs)
        elif node.op.name == "BatchNormalization":
            made[node] = node.with_inputs((*inputs[:3], neg(inputs[3]), inputs[4]))
        else:
            made[node] = node.with_inputs(inputs)
    return made[root]
