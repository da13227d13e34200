"""Every op on constants: the type that is inferred, known elements and all, is the real one.

What is wrong with an input is said when the node is made or when it runs, never by a crash.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from graphopt import structural
from graphopt.errors import ExecutionError, TypeRuleError
from graphopt.ir import Node, rebuild
from graphopt.op import Op
from graphopt.ops import table
from graphopt.structural import constant
from graphopt.tensor import Tensor
from graphopt.types import TensorType, dtype_of
from tests.ops import harness

OPS = [op for op in table().values() if op not in structural.OPS]
SEEDS = 3


def on_constants(node: Node, given: harness.Values) -> Node:
    """The node with constants in the place of some of its inputs. Raises TypeRuleError."""

    def fixed(item: Node) -> Node | None:
        array = given.get(item)
        return None if array is None else constant(Tensor.of(array, dtype_of(array.dtype)))

    (made,) = rebuild((node,), fixed)
    return made


def is_float(node: Node) -> bool:
    kind = node.type
    return isinstance(kind, TensorType) and kind.dtype.kind == "f"


def choices(given: harness.Values) -> Iterator[harness.Values]:
    """All inputs; all but floats; all, with whole numbers for floats."""
    arrays = {item: value for item, value in given.items() if isinstance(item.type, TensorType)}
    yield arrays
    yield {item: value for item, value in arrays.items() if not is_float(item)}
    with np.errstate(all="ignore"):
        yield {k: v.astype(np.int64) if is_float(k) else v for k, v in arrays.items()}


def check(node: Node, sizes: harness.Sizes, seed: int, *, wide: bool) -> int:
    """How often an example on constants could be run, each of its type as it was inferred."""
    checked = 0
    given = harness.feeds(node, sizes, seed, special=wide, wide=wide)
    for chosen in choices(given):
        try:
            made = on_constants(node, chosen)
            values = harness.run(made, {item: given[item] for item in harness.inputs_of(made)})
        except (TypeRuleError, ExecutionError):
            continue
        harness.check_types(made, values, sizes)
        checked += 1
    return checked


@pytest.mark.parametrize("wide", [False, True], ids=["small", "extreme"])
@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_types_of_constants_are_those_of_the_results(op: Op, wide: bool) -> None:
    assert op.example is not None
    checked = 0
    for node in op.example():
        for sizes in harness.bindings(node):
            checked += sum(check(node, sizes, seed, wide=wide) for seed in range(SEEDS))
    assert checked or wide
