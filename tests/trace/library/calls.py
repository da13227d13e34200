"""What the tables of calls are made of: calls, and operands that several use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.trace.library.harness import T, Traced


@dataclass(frozen=True)
class Call:
    """Arguments, and by how many ulps the result may differ from NumPy's."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    ulps: float = 0


def C(*args: Any, ulps: float = 0, **kwargs: Any) -> Call:  # noqa: N802 - stands for a call
    """A call."""
    return Call(args, kwargs, ulps)


RNG = np.random.default_rng(3)
F = Traced(RNG.normal(size=(3, 4)))
F3 = Traced(RNG.normal(size=(2, 3, 4)).astype(np.float32))
HALF = Traced(RNG.normal(size=(3, 4)).astype(np.float16))
ODD = T([[np.nan, 1.0, -0.0], [np.inf, 2.0, 0.0], [-np.inf, -1.5, 3.0]])
INTS = Traced(RNG.integers(-9, 9, (3, 4)))
SMALL = T([[100, 100, 27], [-128, 1, 5]], np.int8)
U = T([[200, 100, 3], [7, 255, 0]], np.uint8)
B = T([[True, False, True], [True, True, True]])
V = T([3.0, -1.0, 2.0, 0.5, 2.0])
W = T([4, 1, 1, 0, 7, 3])
EMPTY = T(np.zeros((0, 3)))
ZERO = T(2.5)
MASK = np.arange(12).reshape(3, 4) % 3 != 1
NESTED = T(np.arange(24).reshape(2, 3, 4))
LINE = T(np.arange(5))
SORTED = np.array([-2.0, -1.0, 0.0, 0.0, 1.5])
