"""Wrong answers that Grappler gives by default, each by its number: here no level changes a bit.

Those of algebra alone stand in test_wrong_algebra.py; this runs all of them through every level.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphopt
from graphopt.backends import reference
from graphopt.body import Body
from graphopt.ir import Node
from graphopt.ops.activation import relu, sigmoid
from graphopt.ops.arithmetic import add, clip, div, max_, mul, sub
from graphopt.ops.conv import conv
from graphopt.ops.functions import reciprocal, sqrt
from graphopt.ops.linalg import matmul
from graphopt.ops.loops import loop
from graphopt.ops.movement import transpose
from graphopt.ops.reduction import reduce_max, reduce_mean
from graphopt.ops.shape import unsqueeze
from graphopt.ops.slicing import concat, split
from graphopt.rewriting.examples import example, filled, ints, weights
from graphopt.structural import constant, opaque, out, results
from tests.passes.before_after import MathName, drawn, graph_of, told
from tests.passes.judge import same_bits
from tests.passes.test_wrong_algebra import CASES as ALGEBRA
from tests.passes.test_wrong_algebra import Case

X = example("float32[4]")
SQUARE = example("float32[4, 4]")
BATCH = example("float32[2, 3, 3]")
IMAGE = example("float32[1, 4, 4, 4]")


def half(x: Node, index: int = 1) -> Node:
    """One of two halves of a value."""
    return out(split(x, None, num_outputs=2, outputs=2), index)


def stacked(x: Node) -> Node:
    made: Node = concat(unsqueeze(x, ints(0)), unsqueeze(x, ints(0)), axis=0)
    return made


def scaled_image(factor: float, weight: float) -> Node:
    made: Node = conv(
        mul(example("float32[1, 1, 1, 2]"), filled(factor)), filled(weight, 1, 1, 1, 1)
    )
    return made


def gate(h: Node, sixth: float) -> Node:
    made: Node = mul(mul(h, clip(add(h, filled(3)), filled(0), filled(6))), filled(sixth))
    return made


CASES: list[Case] = [
    *ALGEBRA,
    ("7 max of a port", lambda: reduce_max(sigmoid(half(X))), {"x": [5, 4, -1, -2]}),
    ("8 stack of a port", lambda: stacked(half(X)), {"x": [1, 2, 3, 4]}),
    ("16 conv of scaled", lambda: scaled_image(1e30, 1e30), {"x": [[[[1e-30, 0]]]]}),
    ("16 scaled conv", lambda: scaled_image(1e-30, 1e-30), {"x": [[[[1e30, 1e38]]]]}),
    ("24 hard swish", lambda: gate(X, 0.17), {"x": [3.3, 1, -2, 7]}),
    ("3b a port enlarged", lambda: mul(half(example("float32[2, 3]")), filled(1, 2, 3)),
     {"x": [[1, 2, 3], [4, 5, 6]]}),
    ("3b a gate of two ports", lambda: mul(half(X, 0), sigmoid(half(X))), {"x": [5, 4, -1, -2]}),
    ("3b transposed batches", lambda: matmul(transpose(BATCH, perm=(1, 0, 2)),
                                               transpose(BATCH, perm=(1, 2, 0))),
     {"x": np.arange(18).reshape(2, 3, 3)}),
    ("3b identity behind a transpose", lambda: transpose(transpose(SQUARE), perm=(0, 1)),
     {"x": np.arange(16).reshape(4, 4)}),
]  # fmt: skip


def test_every_number_is_here() -> None:
    numbers = {int(word) for name, _, _ in CASES if (word := name.split()[0]).isdigit()}
    assert numbers == set(range(1, 26))


@pytest.mark.parametrize("level", ["O1", "O2", "O3"])
@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_no_bit_changes(case: Case, level: str) -> None:
    _, make, feeds = case
    before = graph_of(make())
    made = graphopt.optimize(before, level, strict=True)
    given: dict[str, Any] = {
        node.attrs["name"]: np.asarray(feeds[node.attrs["name"]]).astype(node.dtype.numpy)
        for node in before.inputs
    }
    (old,), (new,) = reference.run(before, given), reference.run(made, given)
    assert (old.dtype, old.shape) == (new.dtype, new.shape)
    assert same_bits(old, new), f"{old} became {new}"


def normalized(mean: int, variance: int) -> Node:
    """What is a layer normalization where both axes are the last."""
    d = sub(SQUARE, reduce_mean(SQUARE, ints(mean)))
    made: Node = div(d, sqrt(add(reduce_mean(mul(d, d), ints(variance)), filled(1e-5))))
    return made


@pytest.mark.parametrize(("axes", "kind"), [((-1, -1), "LayerNormalization"), ((-1, 0), ""),
                                            ((0, -1), "")])  # fmt: skip
def test_both_means_of_a_normalization_are_over_one_axis(axes: tuple[int, int], kind: str) -> None:
    before = graph_of(normalized(*axes))
    made = graphopt.optimize(before, strict=True)
    assert ("LayerNormalization" in told(made, fused=True)) == bool(kind)
    given = drawn(before, 0, tame=True)
    (old,), (new,) = reference.run(before, given), reference.run(made, given)
    np.testing.assert_allclose(new, old, rtol=1e-5, atol=1e-6)


def test_a_vector_beside_images_stays_along_its_axis() -> None:
    """All sizes are 4, so that nothing but the numbers tells which axis it is along."""
    vector = example("float32[4]", "v")

    def wrapped(x: Node) -> Node:
        made: Node = transpose(
            conv(transpose(x, perm=(0, 3, 1, 2)), weights(4, 4, 1, 1)), perm=(0, 2, 3, 1)
        )
        return made

    before = graph_of(relu(wrapped(max_(wrapped(IMAGE), vector))))
    made = graphopt.optimize(before, strict=True)
    assert told(made, fused=False).count("Transpose") == 2
    given = drawn(before, 0, tame=True)
    (old,), (new,) = reference.run(before, given), reference.run(made, given)
    np.testing.assert_allclose(new, old, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("math", ["strict", "default", "fast"])
def test_what_has_effects_stays_in_a_loop(math: MathName) -> None:
    k, go, kept = example("int64[]", "k"), example("bool[]", "go"), example("float32[4]", "c")
    random = opaque("", "RandomLike", (X,), origin=1, types=(X.type,), attrs={})
    body = Body.close((k, go, kept), (X,), (constant(True), add(kept, random)))
    before = graph_of(loop(example("int64[]", "n"), None, X, X, body=body))
    made = graphopt.optimize(before, math=math, strict=True)
    assert told(made, fused=False) == "Loop"


def test_a_scalar_beside_images_discards_no_pass() -> None:
    chosen = add(transpose(relu(transpose(IMAGE, perm=(0, 3, 1, 2))), perm=(0, 2, 3, 1)),
                 reciprocal(example("float32[]", "s")))  # fmt: skip
    made = graphopt.optimize(graph_of(chosen), strict=True)
    assert told(made, fused=False) == "Relu Reciprocal Add"


def test_results_of_one_node_are_told_apart() -> None:
    parts = results(split(X, None, num_outputs=2, outputs=2))
    before = graph_of(tuple(sigmoid(part) for part in reversed(parts)))
    made = graphopt.optimize(before, strict=True)
    given = {"x": np.array([5, 4, -1, -2], np.float32)}
    for old, new in zip(reference.run(before, given), reference.run(made, given), strict=True):
        assert same_bits(old, new)
