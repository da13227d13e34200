"""What nodes over images should take with channels first and last, by figures measured.

`python -m tools.bench_layout --figures` measures them: single operators of real models, each in
both layouts, and the figures that fit best. Only differences between the layouts count.

Blocks of channels, (N, C / 16, H, W, 16), are no third layout: a product of matrices packs its
operands itself, and what windows see lies together in rows of channels already. Convolutions of
16 to 1024 channels as in SqueezeNet, ResNet and YOLO (1x1 and 3x3, images of 7 to 80 rows), so
blocked, took 1.16 times as long as with channels last on the numpy backend (0.7 to 2.1 times) and
1.06 times on jax (0.6 to 1.8): geometric means of 15, the quicker of two ways to write each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from graphopt import dims
from graphopt.dims import Size
from graphopt.ir import Node
from graphopt.ops.channels_last_table import FIRST
from graphopt.ops.resize import resize
from graphopt.ops.slicing import concat
from graphopt.ops.softmax import log_softmax, softmax
from graphopt.types import TensorType

Sizes = tuple[int, int, int, int]
ASSUMED: Sizes = (1, 64, 64, 64)
"""What sizes (N, C, H, W) that only running tells are taken for."""
MICRO = 1e-6


@dataclass(frozen=True, slots=True)
class Amounts:
    """What a node does: calls, runs of elements that lie together, the elements copied in them.

    `strided` are elements that are copied one by one, `flops` the operations of products, `moved`
    the elements of the images taken and made, `weights` those of filters, `groups` those of Conv.
    """

    calls: float = 0
    runs: float = 0
    elements: float = 0
    strided: float = 0
    flops: float = 0
    moved: float = 0
    weights: float = 0
    groups: float = 0

    def at(self, prices: Amounts) -> float:
        """The seconds that it takes at prices in microseconds."""
        names = ("calls", "runs", "elements", "strided", "flops", "moved", "weights", "groups")
        each = ((float(getattr(self, name)), float(getattr(prices, name))) for name in names)
        return MICRO * sum(amount * price for amount, price in each)


Prices = tuple[Amounts, Amounts]
"""With channels first, and last."""


@dataclass(frozen=True)
class Target:
    """The prices of a backend, in microseconds, by kind of node."""

    name: str
    prices: Mapping[str, Prices]
    transpose: Prices
    """Of making channels first what they are last, and the other way around."""


NUMPY = Target(
    "numpy",
    {
        "conv": (
            Amounts(4.4, 0.0025, 16e-5, 28e-5, 4.44e-6, 8e-5, 14e-5),
            Amounts(4.4, 0.0034, 9e-5, 9e-5, 4.26e-6, 15e-5, 14e-5),
        ),
        "point": (
            Amounts(3.2, 0.0110, 0, 11e-5, 4.70e-6, 11e-5, 4e-5),
            Amounts(3.2, 0.0034, 28e-5, 0, 4.23e-6, 13e-5, 4e-5),
        ),
        "depthwise": (
            Amounts(2.3, 0.0031, 2e-5, 14e-5, 65e-6, 6e-5),
            Amounts(16, 0.0100, 17e-5),
        ),
        "group": (
            Amounts(0.3, 0.0025, 16e-5, 28e-5, 2.45e-6, 18e-5, 24e-5, 1.02),
            Amounts(0.3, 0.0034, 16e-5, 9e-5, 2.45e-6, 36e-5, 24e-5, 1.17),
        ),
        "pool": (Amounts(2.4, 0.0009, 26e-5, 31e-5), Amounts(2.4, 0.0032, 11e-5)),
        "whole": (Amounts(2.0, 0.0120, 13e-5), Amounts(2.0, 0.0007, 6e-5)),
        "batch": (Amounts(4, 0.0200, 30e-5), Amounts(4, 0, 48e-5)),
        "norm": (Amounts(12, 0.0160, 63e-5), Amounts(12, 0.0007, 60e-5)),
        "near": (Amounts(6, 0.0025, 150e-5), Amounts(6, 0.0220, 170e-5)),
        "softmax": (Amounts(5, 0, 80e-5), Amounts(5, 0.0440, 80e-5)),
        "nearest": (Amounts(4, 0, 35e-5), Amounts(4, 0.0016, 8e-5)),
        "linear": (Amounts(15, 0, 160e-5), Amounts(15, 0.0060, 70e-5)),
        "blocks": (Amounts(5, 0.0140, 38e-5), Amounts(5, 0.0021, 16e-5)),
        "transposed": (
            Amounts(10, 0, 100e-5, 0, 4.6e-6, 0, 14e-5),
            Amounts(10, 0, 58e-5, 0, 3.3e-6, 0, 25e-5),
        ),
        "channels": (Amounts(runs=0.0060), Amounts(runs=0.0034)),
        "concat": (Amounts(runs=0.0032), Amounts(runs=0.0032)),
    },
    (Amounts(2.0, 0, 55e-5), Amounts(2.0, 0, 35e-5)),
)
JAX = Target(
    "jax",
    {
        "conv": (
            Amounts(11, 0, 4e-5, 0, 3.0e-6, 76e-5, 25e-5),
            Amounts(10, 0.0044, 6e-5, 0, 3.1e-6, 14e-5, 23e-5),
        ),
        "point": (
            Amounts(7.5, 0, 0, 70e-5, 3.4e-6, 14e-5, 18e-5),
            Amounts(7.5, 0, 0, 0, 2.7e-6, 16e-5, 15e-5),
        ),
        "depthwise": (
            Amounts(21, 0, 1e-5, 0, 0, 11e-5, 0.003),
            Amounts(21, 0, 2.7e-5, 0, 0, 0, 0.002),
        ),
        "group": (
            Amounts(1.2, 0, 0, 0, 4.7e-6, 10e-5, 26e-5, 5.0),
            Amounts(1.2, 0, 0, 0, 4.1e-6, 29e-5, 26e-5, 4.8),
        ),
        "pool": (
            Amounts(10, 0.0005, 12e-5, 0, 0, 9e-5),
            Amounts(10, 0.0007, 8e-5, 0, 0, 1e-5),
        ),
        "softmax": (Amounts(16, 0, 68e-5), Amounts(16, 0.0020, 50e-5)),
        "nearest": (Amounts(15, 0, 30e-5), Amounts(15, 0, 18e-5)),
        "linear": (Amounts(40, 0, 90e-5), Amounts(40, 0.0120, 15e-5)),
        "blocks": (Amounts(9, 0, 16e-5), Amounts(9, 0.0008, 2e-5)),
        "transposed": (
            Amounts(31, 0, 39e-5, 0, 3.1e-6, 0, 40e-5),
            Amounts(31, 0, 19e-5, 0, 3.1e-6, 0, 28e-5),
        ),
    },
    (Amounts(3.0, 0, 20e-5), Amounts(3.0, 0, 20e-5)),
)
TARGETS: Mapping[str, Target] = {"numpy": NUMPY, "jax": JAX}


NOTHING = "", (Amounts(), Amounts())


def transpose_seconds(target: Target, value: Node, first: bool) -> float:
    """What a transpose of an image takes that has its channels first, or last, as it stands."""
    n, c, h, w = sizes_of(value, first=first)
    if c == 1 or h * w == 1:
        return 1e-9  # no element moves
    return Amounts(calls=1, elements=n * c * h * w).at(target.transpose[first])


def work_seconds(target: Target, node: Node, first: bool) -> tuple[float, float]:
    """What a node takes with channels first and last, `first` as it stands; 0 of most."""
    kind, amounts = amounts_of(node, first)
    prices = target.prices.get(kind)
    if prices is None:
        return 0.0, 0.0
    return amounts[0].at(prices[0]), amounts[1].at(prices[1])


PLANES: Mapping[str, str] = {
    "BatchNormalization": "batch",
    "DepthToSpace": "blocks",
    "GlobalAveragePool": "whole",
    "GlobalMaxPool": "whole",
    "GroupNormalization": "norm",
    "InstanceNormalization": "norm",
    "LRN": "near",
    "SpaceToDepth": "blocks",
}
"""The kinds of nodes that go over whole channels, or over the channels of each pixel."""


def amounts_of(node: Node, first: bool) -> tuple[str, tuple[Amounts, Amounts]]:
    """What kind of node it is, and what it does in either layout; the kind is "" of most."""
    name = FIRST[node.op].name if node.op in FIRST else node.op.name
    if not isinstance(node.derived_type, TensorType) or node.rank != 4:
        return NOTHING
    if name == "Conv":
        return _conv(node, first)
    if name == "ConvTranspose":
        return _transposed(node, first)
    if name in ("MaxPool", "AveragePool"):
        return "pool", _pooled(node, first)
    channels = 1 if first else 3
    kind = PLANES.get(name, "")
    if node.op is resize:
        kind = "nearest" if node.attrs.get("mode", "nearest") == "nearest" else "linear"
    elif node.op in (softmax, log_softmax) and node.attrs.get("axis", -1) % 4 == channels:
        kind = "softmax"
    if kind:
        return kind, _planes(node if node.op is resize else node.inputs[0], first)
    if node.op is concat and node.attrs["axis"] % 4 == channels:
        n, _, h, w = sizes_of(node, first)
        count = len(node.inputs)
        return "concat", (Amounts(runs=n * count), Amounts(runs=n * h * w * count))
    if node.op.facts.elementwise and _by_channel(node, first):
        n, c, h, w = sizes_of(node, first)
        return "channels", (Amounts(runs=n * c), Amounts(runs=n * h * w))
    return NOTHING


def _planes(value: Node, first: bool) -> tuple[Amounts, Amounts]:
    n, c, h, w = sizes_of(value, first)
    size = n * c * h * w
    return Amounts(1, n * c, size), Amounts(1, n * h * w, size)


def _transposed(node: Node, first: bool) -> tuple[str, tuple[Amounts, Amounts]]:
    n, _, h, w = sizes_of(node.inputs[0], first)
    sizes = [_number(size, 3) for size in node.inputs[1].shape or ASSUMED]
    seen = n * h * w * node.attrs.get("group", 1) * prod(sizes[1:])  # before it is summed
    found = Amounts(1, elements=seen, flops=2 * n * h * w * prod(sizes), weights=prod(sizes))
    return "transposed", (found, found)


def _pooled(node: Node, first: bool) -> tuple[Amounts, Amounts]:
    """What windows that overlap take, axis by axis, of blocks of 2, 4, ...; see `combined`."""
    kernel: tuple[int, ...] = node.attrs["kernel_shape"]
    strides: tuple[int, ...] = node.attrs.get("strides") or (1, 1)
    if all(stride >= size for stride, size in zip(strides, kernel, strict=True)):
        return _windows(node, first, kernel)
    n, c, h, w = sizes_of(node.inputs[0], first)
    _, _, rows, columns = sizes_of(node, first)
    doubled = [size.bit_length() - 1 for size in kernel]
    more = [size.bit_count() - 1 for size in kernel]
    apart = more[1] * n * c * h * columns  # with steps between if there are strides
    seen = n * c * (doubled[1] * h * w + doubled[0] * h * columns + more[0] * rows * columns)
    strided, calls = strides[1] > 1, doubled[1] + more[1]
    runs = n * h * (doubled[1] + more[1] * (columns if strided else 1))
    return (
        Amounts(1, n * c * h * calls, seen + apart * (not strided), apart * strided),
        Amounts(1, runs, seen + apart),
    )


def _conv(node: Node, first: bool) -> tuple[str, tuple[Amounts, Amounts]]:
    sizes = [_number(size, 3) for size in node.inputs[1].shape or ASSUMED]
    taps, group = prod(sizes[2:]), node.attrs.get("group", 1)
    if group > 1:
        kind = "depthwise" if sizes[1] == 1 else "group"
    else:
        kind = "point" if taps == 1 else "conv"
    n, m, rows, columns = sizes_of(node, first)
    flops = 2 * n * m * rows * columns * sizes[1] * taps
    found = _windows(node, first, tuple(sizes[2:]), by_row=kind in ("conv", "group"))
    more = {"flops": flops, "weights": prod(sizes), "groups": group if kind == "group" else 0}
    return kind, (_with(found[0], more), _with(found[1], more))


def _with(amounts: Amounts, more: Mapping[str, float]) -> Amounts:
    known = (amounts.calls, amounts.runs, amounts.elements, amounts.strided)
    return Amounts(*known, moved=amounts.moved, **more)


def _windows(
    node: Node, first: bool, kernel: tuple[int, ...], *, by_row: bool = False
) -> tuple[Amounts, Amounts]:
    """What gathering what windows see takes, tap by tap, or if channels are last row by row."""
    n, c, h, w = sizes_of(node.inputs[0], first)
    _, m, rows, columns = sizes_of(node, first)
    taps, strided = prod(kernel), (node.attrs.get("strides") or (1, 1))[-1] > 1
    pads = any(node.attrs.get("pads") or ()) or "SAME" in node.attrs.get("auto_pad", "")
    inside = n * c * h * w if pads else 0
    seen = taps * n * c * rows * columns if taps > 1 or strided else 0
    moved = n * (c * h * w + m * rows * columns)
    runs = n * h * pads
    if not seen:
        return Amounts(1, c * runs, inside, moved=moved), Amounts(1, runs, inside, moved=moved)
    each = kernel[0] * columns if by_row else taps * (columns if strided else 1)
    return (
        Amounts(1, c * runs + taps * n * c * rows, inside + seen * (not strided), seen * strided,
                moved=moved),
        Amounts(1, runs + n * rows * each, inside + seen, moved=moved),
    )  # fmt: skip


def _by_channel(node: Node, first: bool) -> bool:
    """Whether an operand has one element a channel: then whole channels, or pixels, are a run."""
    for item in node.inputs:
        if isinstance(item.derived_type, TensorType) and item.shape is not None:
            shape = (1,) * (4 - len(item.shape)) + item.shape
            c, h, w = (shape[1], shape[2], shape[3]) if first else (shape[3], shape[1], shape[2])
            if (h, w) == (1, 1) and c != 1:
                return True
    return False


def sizes_of(value: Node, first: bool) -> Sizes:
    """The sizes (N, C, H, W) of an image that has its channels first, or last."""
    shape = value.shape or (None,) * 4
    n, c, h, w = shape if first else (shape[0], shape[3], shape[1], shape[2])
    return _number(n, 0), _number(c, 1), _number(h, 2), _number(w, 3)


def _number(size: Size | None, axis: int) -> int:
    found = None if size is None else dims.substitute(size, lambda atom: ASSUMED[axis])
    return found if isinstance(found, int) else ASSUMED[axis]
