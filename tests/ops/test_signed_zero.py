"""What becomes of the sign of a zero in each op, as its facts say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graphopt.backends.reference import evaluate_all
from graphopt.errors import GraphoptError
from graphopt.ir import Node, walk
from graphopt.op import Op
from graphopt.ops import table
from graphopt.types import DType, TensorType

Array = Any
NUMBERS = (0.0, 0.0, 1.0, -1.0, 0.5, 2.0, -3.0)
TOLD = [op for op in table().values() if op.facts.signed_zero]
SEEDS = 6


def drawn(node: Node, rng: np.random.Generator) -> Array:
    """Numbers of which many are zeros."""
    kind = node.tensor_type
    shape = [size if isinstance(size, int) else 2 for size in kind.shape or (2, 3)]
    if kind.dtype.is_float:
        return rng.choice(NUMBERS, shape).astype(kind.dtype.numpy)
    return rng.integers(0, 2, shape).astype(kind.dtype.numpy)


def turned(array: Array, rng: np.random.Generator) -> Array:
    """The array, the signs of some of its zeros turned around."""
    made = np.array(array)
    places = np.flatnonzero((made == 0) & (rng.random(made.shape) < 0.5))
    made.reshape(-1)[places] *= -1
    return made


def signs_may_differ(x: Array, y: Array, fate: str) -> bool:
    """Whether two results differ no more than a fact allows."""
    if x.dtype.kind not in "fV":
        return np.array_equal(x, y)
    a, b = x.astype(np.float64), y.astype(np.float64)
    if not np.array_equal(a, b, equal_nan=True):
        return False
    signs = np.array_equal(np.signbit(a[~np.isnan(a)]), np.signbit(b[~np.isnan(b)]))
    return fate == "passed" or signs


def checked(node: Node, seed: int) -> int:
    """Turn zeros in each input that does not reveal them; 1 when the op took the inputs."""
    rng = np.random.default_rng(seed)
    inputs = [item for item in walk((node,)) if item.op.name == "Input"]
    kinds = [item.derived_type for item in (*inputs, node)]
    if any(isinstance(kind, TensorType) and kind.dtype is DType.STRING for kind in kinds):
        return 0
    if not all(isinstance(item.derived_type, TensorType) for item in inputs):
        return 0
    nodes = list(walk((node,)))
    feeds = {item: drawn(item, rng) for item in inputs}
    revealing = {node.inputs[k] for k in node.op.facts.revealing if k < len(node.inputs)}
    other = {
        item: turned(array, rng) if item.dtype.is_float and item not in revealing else array
        for item, array in feeds.items()
    }
    try:
        before = evaluate_all(nodes, (node,), dict(feeds))[0]
        after = evaluate_all(nodes, (node,), dict(other))[0]
    except GraphoptError:
        return 0
    for x, y in zip(results(before), results(after), strict=True):
        assert signs_may_differ(x, y, node.op.facts.signed_zero)
    return 1


def results(made: Any) -> list[Array]:
    """The results that there are of a node of one output or several."""
    if not isinstance(made, tuple):
        return [made]
    return [item for item in made if item is not None]  # pyright: ignore[reportUnknownVariableType]


@pytest.mark.parametrize("op", TOLD, ids=lambda op: op.name)
def test_signs_of_zeros(op: Op) -> None:
    assert op.example is not None
    ran = sum(checked(node, seed) for node in op.example() for seed in range(SEEDS))
    assert ran
