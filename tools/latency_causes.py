"""Where the time of a program on NumPy goes: its steps by what holds them back.

A step whose work would take the machine less than a call of NumPy, at its measured peaks, is call
overhead, unless it takes many times that. The others are products (near the peak, far below it, or
such that memory bounds them), copies (of a convolution's columns, or others), selections,
transcendental or other element-wise functions, reductions, or nodes without steps of their own.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import Any

import numpy as np

from graphopt.backends.numpy import kernels, steps
from graphopt.backends.numpy.block import Array, Call, Ref
from graphopt.backends.numpy.cost import product_flops
from graphopt.backends.numpy.profile import Profile
from graphopt.backends.numpy.program import SHARED
from tools.latency_peaks import Peaks

SLOW = 0.5
"""Products below this share of the peak are slow."""

MANY = 25
"""What takes more times a call than this is not explained by being one."""

CATEGORIES: Mapping[str, str] = MappingProxyType(
    {
        "products": f"matrix products at {SLOW:.0%} of the peak or more",
        "slow products": f"matrix products below {SLOW:.0%} of the peak",
        "thin products": "matrix products that memory bounds, such as those of one row",
        "columns": "copies that lay out the columns of convolutions",
        "copies": "copies, gathers, concatenations and casts",
        "transcendental": "transcendental functions",
        "selections": "selections of elements by a mask",
        "element-wise": "other element-wise functions",
        "reductions": "reductions",
        "overhead": "calls on arrays so small that a call costs more than the work",
        "other": "nodes without steps of their own, and functions of other kinds",
    }
)
"""What each category is."""

CONVOLUTIONS = frozenset({"Conv", "ConvInteger", "ConvTranspose", "DeformConv", "QLinearConv"})
MOVES = (
    np.copyto, np.concatenate, np.stack, np.take, operator.getitem, operator.setitem,
    np.pad, kernels.combine, kernels.pad, kernels.take, steps.fresh,
)  # fmt: skip
TRANSCENDENTAL = (
    np.exp, np.exp2, np.expm1, np.log, np.log2, np.log10, np.log1p, np.logaddexp, np.power,
    np.float_power, np.sin, np.cos, np.tan, np.arcsin, np.arccos, np.arctan, np.arctan2,
    np.sinh, np.cosh, np.tanh, np.arcsinh, np.arccosh, np.arctanh,
)  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """A step, what it took (s), why, and how fast it was beside what the machine could do.

    `rate` is in operations of a product or else bytes a second, `peak` the machine's of the same.
    """

    name: str
    origin: str
    seconds: float
    category: str
    rate: float
    peak: float

    def __str__(self) -> str:
        unit = "GFLOP/s" if self.category in ("products", "slow products") else "GB/s"
        speed = f"{self.rate / 1e9:.1f} of {self.peak / 1e9:.0f} {unit}"
        return f"{self.seconds * 1e6:.1f} µs {self.name}: {self.category}, {speed}"


def costs(calls: Sequence[Call], profile: Profile, peaks: Peaks, blas: int) -> list[Cost]:
    """What each step of a recording took and why, with BLAS on so many threads."""
    table = zip(calls, profile.names, profile.origins, profile.seconds, strict=True)
    return [_cost(call, name, origin, took, peaks, blas) for call, name, origin, took in table]


def _cost(call: Call, name: str, origin: str, took: float, peaks: Peaks, blas: int) -> Cost:
    category = kind(call)
    nbytes, peak = moved(call), peaks.bandwidth
    ideal = nbytes / peak
    work = float(nbytes)
    if category == "transcendental":
        ideal += sum(ref.size for ref in call.writes) / peaks.exp
    if category == "products":
        flops, batch = _flops(call), prod(call.writes[0].shape[:-2])
        most = peaks.flops[blas if flops > SHARED * batch else 1]
        if flops / most < ideal:
            category = "thin products"
        else:
            work, peak, ideal = flops, most, flops / most
            category = "products" if ideal >= SLOW * took else "slow products"
    if ideal < peaks.call and took < MANY * peaks.call and category != "other":
        category = "overhead"
    return Cost(name, origin, took, category, work / max(took, 1e-9), peak)


def kind(call: Call) -> str:
    """The category of a call, but for how fast it is."""
    func = called(call)
    if func is np.matmul:
        return "products"
    if func in MOVES:
        conv = call.node is not None and call.node.op.name in CONVOLUTIONS
        return "columns" if conv else "copies"
    if func in (kernels.select, kernels.choose, np.where):
        return "selections"
    if func in TRANSCENDENTAL:
        return "transcendental"
    if isinstance(func, np.ufunc) or func in (np.clip, kernels.divide_integers):
        return "element-wise"
    return "reductions" if _is_reduction(func) else "other"


def called(call: Call) -> Any:
    """The function that a call comes down to."""
    func: Any = call.func
    if getattr(func, "func", None) is kernels.owned:
        return func.args[0]
    return func


def _is_reduction(func: Any) -> bool:
    owner = getattr(func, "__self__", None)
    return isinstance(owner, np.ufunc) or func in (np.argmax, np.argmin)


def _flops(call: Call) -> float:
    """The operations of a product; integers count like floats of four bytes."""
    out = call.writes[0]
    if out.dtype.kind in "fc":
        return product_flops(call)
    first = call.args[0]
    return 2.0 * out.size * (first.shape if isinstance(first, Ref) else np.shape(first))[-1]


def moved(call: Call) -> int:
    """The bytes that a call reads and writes; what is broadcast counts once."""
    given: list[Array] = [item for item in _flat(call.args) if isinstance(item, np.ndarray)]
    refs = (*call.reads, *call.writes, *call.returns)
    return sum(map(_content, [*given, *(ref.meta for ref in refs if ref.is_known)]))


def _flat(value: Any) -> Iterator[Any]:
    if type(value) in (tuple, list):
        for item in value:
            yield from _flat(item)
    else:
        yield value


def _content(array: Array) -> int:
    sizes = [n for n, stride in zip(array.shape, array.strides, strict=True) if stride or n == 0]
    count: int = prod(sizes)
    return count * array.itemsize


def shares(found: Sequence[Cost]) -> dict[str, float]:
    """The share of the time that each category takes, all of them, the largest first."""
    total = sum(each.seconds for each in found) or 1.0
    share = dict.fromkeys(CATEGORIES, 0.0)
    for each in found:
        share[each.category] += each.seconds / total
    return dict(sorted(share.items(), key=lambda item: -item[1]))


def main_cause(share: Mapping[str, float]) -> str:
    """The category that takes the most, in words."""
    category = max(share, key=share.__getitem__)
    return f"{share[category]:.0%} of the time goes to {CATEGORIES[category]}"


def longest(found: Sequence[Cost], most: int) -> list[Cost]:
    """The steps that took the most."""
    return sorted(found, key=lambda each: -each.seconds)[:most]
