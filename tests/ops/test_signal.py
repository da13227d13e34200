"""Signals: transforms and their inverses, frames, windows, symbolic lengths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.errors import ExecutionError, TypeRuleError
from graphopt.ir import Node
from graphopt.ops.signal import dft, stft
from graphopt.ops.signal_windows import (
    blackman_window,
    hamming_window,
    hann_window,
    mel_weight_matrix,
)
from graphopt.structural import constant, graph_input
from graphopt.types import DType
from tests.ops import harness
from tests.ops.harness import tensor

Array = Any
RNG = np.random.default_rng(6)


def value(node: Node) -> Array:
    return harness.run(node, {})[node]


def f32(name: str, *shape: int | str) -> Node:
    return graph_input(name, tensor("float32", *shape))


def complex_of(parts: Array) -> Array:
    return parts[..., 0] + 1j * parts[..., 1]


@given(st.integers(1, 7), st.integers(0, 1), st.one_of(st.none(), st.integers(1, 9)))
def test_transform_is_its_sum_and_has_an_inverse(n: int, axis: int, length: int | None) -> None:
    shape = (n, 3, 2) if axis == 0 else (3, n, 2)
    x = RNG.normal(size=shape)
    size = None if length is None else constant(length)
    made = value(dft(constant(x), size, constant(axis)))
    used = np.zeros((*shape[:axis], length or n, *shape[axis + 1 : 2]), complex)
    kept = min(n, length or n)
    part = (slice(None),) * axis + (slice(kept),)
    used[part] = complex_of(x)[part]
    turns = np.outer(np.arange(length or n), np.arange(length or n)) / (length or n)
    wanted = np.moveaxis(np.tensordot(np.exp(-2j * np.pi * turns), used, ([1], [axis])), 0, axis)
    np.testing.assert_allclose(complex_of(made), wanted, atol=1e-12)
    back = value(dft(constant(made), None, constant(axis), inverse=1))
    np.testing.assert_allclose(complex_of(back), used, atol=1e-12)


@given(st.integers(1, 8), st.booleans())
def test_one_side_is_enough_for_a_real_signal(n: int, told: bool) -> None:
    x = RNG.normal(size=(2, n, 1))
    both, one = value(dft(constant(x))), value(dft(constant(x), onesided=1))
    assert one.shape == (2, n // 2 + 1, 2)
    np.testing.assert_allclose(one, both[:, : n // 2 + 1], atol=1e-12)
    if told or (n % 2 == 0):
        size = constant(n) if told else None
        back = value(dft(constant(one), size, inverse=1, onesided=1))
        np.testing.assert_allclose(back, x, atol=1e-12)


def test_symbolic_lengths_of_transforms() -> None:
    x = f32("x", "B", "N", 1)
    assert str(dft(x, onesided=1).type) == "float32[B, div(N, 2) + 1, 2]"
    assert str(dft(f32("z", "B", "N", 2), inverse=1, onesided=1).type) == "float32[B, 2*N - 2, 1]"
    assert str(dft(x, None, constant(0)).type) == "float32[B, N, 2]"
    unknown = graph_input("axis", tensor("int64"))
    assert str(dft(x, None, unknown).derived_type) == "float32[?, ?, 2]"
    frames = stft(x, constant(4), None, constant(16))
    assert str(frames.type) == "float32[B, div(N, 4) - 3, 9, 2]"
    whole = stft(x, constant(4))
    assert str(whole.type) == "float32[B, 1, div(N, 2) + 1, 2]"


def test_transforms_refuse_what_does_not_fit() -> None:
    real, parts = f32("x", 2, 8, 1), f32("z", 2, 8, 2)
    bad: list[tuple[Callable[[], Node], str]] = [
        (lambda: dft(parts, onesided=1), "last axis has size 2"),
        (lambda: dft(real, inverse=1, onesided=1), "last axis has size 1"),
        (lambda: dft(f32("y", 2, 8, 3)), "last axis has size 3"),
        (lambda: dft(real, None, constant(-1)), "holds the parts"),
        (lambda: dft(real, None, constant(3)), "no axis 3"),
        (lambda: dft(real, constant(0)), "length 0"),
        (lambda: dft(real, constant([4, 4])), "not one number"),
        (lambda: stft(real, constant(0), None, constant(4)), "every 0"),
        (lambda: stft(real, constant(2), None, constant(9)), "frames of 9 in a signal of 8"),
        (lambda: stft(real, constant(2), f32("w", 4), constant(5)), "both 5 and 4"),
        (lambda: stft(parts, constant(2), f32("w", 4)), "last axis has size 2"),
    ]
    for make, message in bad:
        with pytest.raises(TypeRuleError, match=message):
            make()
    x = f32("x", "B", "N", 1)
    with pytest.raises(ExecutionError, match="frames of 9"):
        harness.run(stft(x, constant(2), None, constant(9)), {x: np.zeros((1, 8, 1), np.float32)})


@given(st.integers(1, 5), st.integers(1, 8), st.integers(0, 6), st.booleans())
def test_frames_are_transformed_one_by_one(
    step: int, length: int, more: int, onesided: bool
) -> None:
    x, window = RNG.normal(size=(2, length + more, 1)), RNG.normal(size=length)
    made = value(stft(constant(x), constant(step), constant(window), onesided=int(onesided)))
    starts = range(0, more + 1, step)
    assert made.shape[1] == len(starts)
    for k, start in enumerate(starts):
        frame = np.fft.fft(x[:, start : start + length, 0] * window)
        wanted = frame[:, : length // 2 + 1] if onesided else frame
        np.testing.assert_allclose(complex_of(made[:, k]), wanted, atol=1e-12)


def hamming(n: int) -> Array:
    return 25 / 46 - 21 / 46 * np.cos(np.linspace(0, 2 * np.pi, n))


@pytest.mark.parametrize(
    ("op", "wanted"),
    [
        (hann_window, np.hanning),
        (hamming_window, hamming),
        (blackman_window, np.blackman),
    ],
)
@given(n=st.integers(2, 12))
def test_windows(op: Any, wanted: Any, n: int) -> None:
    symmetric = value(op(constant(n), periodic=0, output_datatype=DType.FLOAT64))
    np.testing.assert_allclose(symmetric, wanted(n), atol=1e-15)
    periodic = value(op(constant(n)))
    assert periodic.dtype == np.float32
    np.testing.assert_allclose(periodic, wanted(n + 1)[:-1], atol=1e-6)
    assert op(graph_input("n", tensor("int64"))).derived_type.shape == (None,)
    with pytest.raises(TypeRuleError, match="-1 elements"):
        op(constant(-1))


def test_mel_weights_are_triangles() -> None:
    sizes = [constant(n) for n in (8, 64, 8000)]
    edges = [constant(hertz, DType.FLOAT32) for hertz in (0.0, 4000.0)]
    node = mel_weight_matrix(*sizes, *edges)
    made = value(node)
    assert made.shape == node.shape == (33, 8)
    assert (made.max(axis=0) == 1).all() and made.min() == 0
    rises = np.sign(np.diff(made, axis=0))
    assert all((np.diff(column[column != 0]) <= 0).all() for column in rises.T)
