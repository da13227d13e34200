"""Constants: every dtype, packing, strings, splats, and what equality of constants means."""

from __future__ import annotations

import pickle
from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.tensor import Tensor, file_bytes, pack, unpack
from graphopt.text.elements import tensor_of, words_of
from graphopt.types import DType
from tests.strategies import tensors

FIXED = [dtype for dtype in DType if dtype is not DType.STRING]
SUB_BYTE = [dtype for dtype in FIXED if dtype.bits % 8]


@pytest.mark.parametrize("dtype", FIXED, ids=str)
def test_array_and_bytes_of_every_dtype(dtype: DType) -> None:
    array = np.array([0, 1, 1, 0, 1], np.int64).astype(dtype.numpy)
    tensor = Tensor.of(array)
    assert tensor.dtype is dtype and tensor.shape == (5,)
    assert len(tensor.tobytes()) == tensor.nbytes == file_bytes(dtype, 5)
    again = Tensor.from_raw(dtype, (5,), tensor.tobytes())
    assert again == tensor and again.array.tobytes() == array.tobytes()
    assert again.array.dtype == dtype.numpy and not again.array.flags.writeable


@pytest.mark.parametrize("dtype", SUB_BYTE, ids=str)
def test_first_element_of_a_packed_byte_is_in_the_low_bits(dtype: DType) -> None:
    count = 8 // dtype.bits
    codes = np.arange(1 << dtype.bits, dtype=np.uint8)
    raw = bytes(
        sum(int(c) << dtype.bits * k for k, c in enumerate(g))
        for g in np.split(codes, len(codes) // count)
    )
    elements = unpack(np.frombuffer(raw, np.uint8), dtype, len(codes))
    assert pack(elements, dtype) == raw
    if dtype.kind != "f":
        signed = [
            c - (1 << dtype.bits) if dtype.kind == "i" and c >> dtype.bits - 1 else c
            for c in codes.tolist()
        ]
        assert elements.astype(int).tolist() == signed


def test_odd_number_of_packed_elements_pads_the_last_byte() -> None:
    tensor = Tensor.of([1, -2, 3], DType.INT4)
    assert tensor.tobytes() == bytes([0xE1, 0x03])
    assert Tensor.from_raw(DType.INT4, (3,), tensor.tobytes()).array.astype(int).tolist() == [
        1,
        -2,
        3,
    ]


def test_strings() -> None:
    tensor = Tensor.of([["a", "é"], ["", "\udc80"]])
    assert tensor.dtype is DType.STRING and tensor.shape == (2, 2)
    assert tensor.items == [b"a", "é".encode(), b"", b"\x80"]
    assert tensor.array.tolist() == [["a", "é"], ["", "\udc80"]]
    assert tensor == Tensor.strings(tensor.items, (2, 2)) != Tensor.strings(tensor.items, (4,))
    splat = Tensor.splat(DType.STRING, (2, 2), "ab")
    assert splat.array.tolist() == [["ab", "ab"], ["ab", "ab"]]


@given(tensors())
def test_words_and_pickles_come_back(tensor: Tensor) -> None:
    again = pickle.loads(pickle.dumps(tensor))
    assert again == tensor and hash(again) == hash(tensor) and again.digest() == tensor.digest()
    if tensor.dtype is not DType.STRING:
        read = tensor_of(tensor.dtype, tensor.shape, words_of(tensor), splat=tensor.is_splat)
        assert read.array.tobytes() == tensor.array.tobytes()


@given(tensors())
def test_compact_and_dense_have_the_same_elements(tensor: Tensor) -> None:
    for other in (tensor.compact(), tensor.dense()):
        assert other.shape == tensor.shape and other.array.shape == tensor.shape
        assert other.array.tolist().__repr__() == tensor.array.tolist().__repr__()


@given(st.sampled_from(FIXED), st.lists(st.integers(0, 3), max_size=3), st.integers(-2, 2))
def test_wrong_number_of_bytes_is_refused(dtype: DType, shape: list[int], more: int) -> None:
    wanted = file_bytes(dtype, prod(shape))
    if more and wanted + more >= 0:
        with pytest.raises(ValueError, match="takes"):
            Tensor.from_raw(dtype, shape, bytes(wanted + more))


def test_equal_by_bits_when_small() -> None:
    def of(*data: Any) -> Tensor:
        return Tensor.of(np.array(data, np.float32))

    assert of(1, 2) == of(1, 2) and hash(of(1, 2)) == hash(of(1, 2))
    assert of(0.0) != of(-0.0) and of(1) != Tensor.of(np.array([1], np.int32))
    assert of(float("nan")) == of(float("nan"))
    assert Tensor.of(np.zeros(256, np.float32)) == Tensor.of(np.zeros(256, np.float32))


def test_equal_by_memory_when_large() -> None:
    data = np.zeros(257, np.float32)
    data.flags.writeable = False
    assert Tensor.of(data) == Tensor.of(data) != Tensor.of(data.copy())


@given(tensors())
def test_sketches_of_equal_content_are_equal(tensor: Tensor) -> None:
    assert tensor.compact().sketch() == tensor.dense().sketch() == tensor.sketch()


def test_bytes_of_a_file_are_handed_on_without_a_copy() -> None:
    raw = bytes(range(256)) * 16
    whole = Tensor.from_raw(DType.FLOAT32, (32, 32), raw)
    assert whole.tobytes() is raw
    part = Tensor.of(whole.array[1:])
    assert part.tobytes() == raw[128:]
    turned = Tensor(DType.FLOAT32, (32, 32), whole.array.T)
    assert turned.tobytes() == whole.array.T.tobytes() != raw


def test_writable_memory_is_copied() -> None:
    data = np.ones(3)
    tensor = Tensor.of(data)
    data[0] = 5
    assert tensor.array.tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="read-only"):
        tensor.array[0] = 5


def test_splat_takes_one_element() -> None:
    splat = Tensor.splat(DType.FLOAT32, (10**6, 10**6), 1.5)
    assert splat.stored_bytes == 4 and splat.size == 10**12 and splat.element == 1.5
    assert splat == Tensor.splat(DType.FLOAT32, (10**6, 10**6), 1.5)
    assert len(pickle.dumps(splat)) < 1000
    assert Tensor.of(np.full(1000, 7)).compact() == Tensor.splat(DType.INT64, (1000,), 7)
    mixed = Tensor.of(np.array([0.0, -0.0]))
    assert mixed.compact() is mixed
