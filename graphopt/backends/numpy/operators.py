"""The ops whose kernel NumPy would run badly, and the kernels that they have here instead.

They say the same up to rounding, in fewer passes over memory. What NumPy is slow at: choosing by a
mask (five times a product), and thousands of strided pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from math import inf, prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from graphopt.op import Ints
from graphopt.ops.activation import hard_swish, leaky_relu, relu, sigmoid, swish
from graphopt.ops.arithmetic import max_, min_
from graphopt.ops.channels_last import add_bias_last, convolve_last, gathered
from graphopt.ops.conv import add_bias, conv, kernel_of
from graphopt.ops.kernels import wide
from graphopt.ops.window import Window, concrete, padded, window

Array = Any
Xp = Any

MAX_TAPS = 32
"""Windows of more taps are gathered as a whole rather than tap by tap."""


def _is_wide(x: Array) -> bool:
    return x.dtype in (np.float32, np.float64)


def _relu(xp: Xp, x: Array) -> Array:
    return xp.clip(x, 0, inf) if _is_wide(x) else relu.kernel(xp, x)


def _leaky_relu(xp: Xp, x: Array, *, alpha: float) -> Array:
    if not _is_wide(x) or not 0 < alpha <= 1:
        return leaky_relu.kernel(xp, x, alpha=alpha)
    return xp.maximum(x, alpha * x)


def _sigmoid(xp: Xp, x: Array) -> Array:
    return 1 / (xp.exp(-x) + 1) if _is_wide(x) else sigmoid.kernel(xp, x)


def _swish(xp: Xp, x: Array, *, alpha: float) -> Array:
    if not _is_wide(x):
        return swish.kernel(xp, x, alpha=alpha)
    return x / (xp.exp(x * -alpha) + 1)


def _hard_swish(xp: Xp, x: Array) -> Array:
    return x * xp.clip(x / 6 + 0.5, 0, 1) if _is_wide(x) else hard_swish.kernel(xp, x)


def _max(xp: Xp, x: Array, *more: Array) -> Array:
    """Which of 0 and -0 is taken may differ."""
    return reduce(xp.maximum, more, x) if _is_wide(x) else max_.kernel(xp, x, *more)


def _min(xp: Xp, x: Array, *more: Array) -> Array:
    return reduce(xp.minimum, more, x) if _is_wide(x) else min_.kernel(xp, x, *more)


def _conv(
    xp: Xp,
    x: Array,
    w: Array,
    bias: Array | None = None,
    *,
    auto_pad: str,
    dilations: Ints | None,
    group: int,
    kernel_shape: Ints | None,
    pads: Ints | None,
    strides: Ints | None,
) -> Array:
    count = prod(w.shape[2:])
    if count <= MAX_TAPS or w.ndim != 3:
        attrs = {"auto_pad": auto_pad, "dilations": dilations, "group": group}
        more = {"kernel_shape": kernel_shape, "pads": pads, "strides": strides}
        return conv.kernel(xp, x, w, bias, **attrs, **more)
    dtype = x.dtype
    x, w, bias = wide(xp, x, w, bias)
    win = window(kernel_of(x, w, kernel_shape), strides, pads, dilations, auto_pad)
    x, counts = padded(xp, x, win, 0)
    gathered = xp.view(x, windows, win, counts)  # (N, count, C, taps): whole rows of memory
    n, channels = x.shape[0], x.shape[1] // group
    rows = gathered.reshape(n, counts[0], group, channels * count).transpose(0, 2, 3, 1)
    filters = w.reshape(group, w.shape[0] // group, channels * count)
    made = xp.matmul(filters, rows).reshape(n, w.shape[0], *counts)
    return xp.asarray(add_bias(made, bias), dtype)


def windows(x: np.ndarray[Any, Any], win: Window, counts: Ints) -> np.ndarray[Any, Any]:
    """The windows over a padded x (N, C, D), as a view of it: (N, count, C, taps)."""
    over_n, over_c, over_d = x.strides
    shape = (x.shape[0], counts[0], x.shape[1], concrete(win.kernel[0]))
    strides = (over_n, over_d * win.strides[0], over_c, over_d * win.dilations[0])
    return as_strided(x, shape, strides, writeable=False)


def _conv_last(
    xp: Xp,
    x: Array,
    w: Array,
    bias: Array | None = None,
    *,
    auto_pad: str,
    dilations: Ints | None,
    group: int,
    kernel_shape: Ints | None,
    pads: Ints | None,
    strides: Ints | None,
) -> Array:
    """ConvLast: what a row of a window sees lies together and is copied at once."""
    dtype = x.dtype
    x, w, bias = wide(xp, x, w, bias)
    win = window(kernel_of(x, w, kernel_shape), strides, pads, dilations, auto_pad)
    made = convolve_last(xp, x, w, win, group, _gathered)
    return xp.asarray(add_bias_last(xp, made, bias), dtype)


def _gathered(xp: Xp, x: Array, win: Window, counts: Ints) -> Array:
    return gathered(xp, x, win, counts) if prod(win.kernel) == 1 else xp.view(x, seen, win, counts)


def seen(x: np.ndarray[Any, Any], win: Window, counts: Ints) -> np.ndarray[Any, Any]:
    """The windows over a padded x (N, H, W, C), as a view of it: (N, *counts, h, w, C)."""
    over_n, over_h, over_w, over_c = x.strides
    shape = (x.shape[0], *counts, *map(concrete, win.kernel), x.shape[3])
    steps = (over_h * win.strides[0], over_w * win.strides[1])
    inner = (over_h * win.dilations[0], over_w * win.dilations[1])
    return as_strided(x, shape, (over_n, *steps, *inner, over_c), writeable=False)


OPERATORS: Mapping[str, Callable[..., Any]] = {
    "Conv": _conv,
    "ConvLast": _conv_last,
    "HardSwish": _hard_swish,
    "LeakyRelu": _leaky_relu,
    "Max": _max,
    "Min": _min,
    "Relu": _relu,
    "Sigmoid": _sigmoid,
    "Swish": _swish,
}
"""Kernels by the names of the ops, which no two of these domains share."""
