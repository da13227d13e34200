"""Every op on JAX gives what the reference gives, on its examples."""

from __future__ import annotations

import pytest

from graphopt import structural
from graphopt.op import Op
from graphopt.ops import table

pytest.importorskip("jax", reason="the backend's library is an extra")

from graphopt.backends.jax.library import jax
from tests.backends.jax import evaluation

OPS = [op for op in table().values() if op not in structural.OPS]

BY_CONTENT = {
    "NonZero": "how many elements are not 0 depends on what they are",
    "Unique": "how many elements differ depends on what they are",
}
"""Ops that have examples which no program of fixed shapes can run, and why."""

LOOSE = {
    "BitCast": (1, "XLA takes subnormal parts of complex numbers for 0"),
    "ComplexPow": (128, "what the logarithm is off by grows with the power"),
    "Div": (1, "XLA multiplies by the reciprocal of what is broadcast"),
    "FloorDivide": (1, "XLA multiplies by the reciprocal of what is broadcast"),
}
"""Ops that are exact by the reference's facts: how many units XLA is off by, and why."""

LOOSE_ON_GPU = {
    "Ldexp": (2, "powers of two are approximate"),
    "RMSNormalization": (8192, "float16 on the way to float32 is left out"),
    "Reciprocal": (2, "the quotient is approximate"),
    "Sqrt": (2, "the root is approximate"),
}
"""The like, where JAX runs on a GPU."""

CHOSEN_ON_GPU = {
    "Eigh": "the signs of the vectors are the library's choice",
    "MaxUnpool": "which of several elements for one place is kept depends on the threads",
    "SVD": "the signs of the vectors are the library's choice",
}
"""Ops with several right answers, of which a GPU gives another one."""

ON_GPU = jax.default_backend() != "cpu"


def id_of(op: Op) -> str:
    return op.name


@pytest.mark.parametrize("op", OPS, ids=id_of)
def test_examples_agree_with_the_reference(op: Op) -> None:
    if ON_GPU and op.name in CHOSEN_ON_GPU:
        pytest.skip(CHOSEN_ON_GPU[op.name])
    loose = {**LOOSE, **LOOSE_ON_GPU} if ON_GPU else LOOSE
    ulps, _ = loose.get(op.name, (None, ""))
    found = evaluation.problems(op, ulps)
    if op.name in BY_CONTENT:
        assert found, "the exception is not needed"
        found = [text for text in found if "NeedsValues" not in text and "content" not in text]
    assert not found, "\n".join(found[:5])


@pytest.mark.skipif(ON_GPU, reason="the bounds are the CPU's")
@pytest.mark.parametrize("op", [op for op in OPS if op.name in LOOSE], ids=id_of)
def test_loose_bounds_are_needed(op: Op) -> None:
    assert evaluation.problems(op)
