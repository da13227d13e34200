"""Complex numbers: ufuncs, reductions and products give what NumPy gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graphopt.errors import UnsupportedError
from graphopt.frontends.trace.library import FUNCTIONS, REDUCTIONS, UFUNCS
from graphopt.frontends.trace.library.complex_forms import COMPLEX_FORMS
from graphopt.frontends.trace.library.ufuncs import GENERALIZED, ufunc_of
from tests.trace.library.harness import T, Traced, check, traced_call

RNG = np.random.default_rng(2)
DTYPES = (np.complex128, np.complex64)


def numbers(dtype: Any, *shape: int) -> Traced:
    """Complex numbers, some with zero parts."""
    parts = RNG.normal(size=(2, *shape)).round(1)
    return Traced((parts[0] + 1j * parts[1]).astype(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", sorted(set(COMPLEX_FORMS) - set(GENERALIZED)))
def test_ufunc(name: str, dtype: Any) -> None:
    ufunc = ufunc_of(name)
    operands = tuple(numbers(dtype, 3, 4) for _ in range(ufunc.nin))
    check(ufunc, UFUNCS[name], operands, ulps=8)
    if ufunc.nin == 2:
        for other in (2, 0.5, 1j, T([1, 2, 3, 4]), T(np.float32(2.5))):
            check(ufunc, UFUNCS[name], (operands[0], other), ulps=8)
            check(ufunc, UFUNCS[name], (other, operands[0]), ulps=8)


@pytest.mark.parametrize("name", ["isnan", "isinf", "isfinite", "logical_not", "equal"])
def test_special_parts(name: str) -> None:
    strange = T([complex(np.nan, 1), complex(1, np.inf), complex(np.inf, np.nan), 0, 1j])
    ufunc = ufunc_of(name)
    check(ufunc, UFUNCS[name], (strange,) * ufunc.nin)


@pytest.mark.parametrize("name", sorted(set(COMPLEX_FORMS) & set(GENERALIZED)))
def test_products(name: str) -> None:
    shapes = {"matmul": ((2, 3), (3, 4)), "matvec": ((2, 3), (3,)), "vecdot": ((2, 3), (3,))}
    operands = tuple(numbers(np.complex128, *shape) for shape in shapes[name])
    check(ufunc_of(name), UFUNCS[name], operands, ulps=16)


@pytest.mark.parametrize("axis", [None, 0, 1, (0, 1)])
def test_reductions(axis: Any) -> None:
    x = numbers(np.complex128, 3, 4)
    for name in ("add", "multiply", "logical_or"):
        check(ufunc_of(name).reduce, REDUCTIONS[name], (x, axis), ulps=16)
    check(np.mean, FUNCTIONS["mean"], (x, axis), ulps=16)


@pytest.mark.parametrize("name", ["vdot", "dot", "inner", "outer", "kron"])
def test_functions(name: str) -> None:
    operands = (numbers(np.complex128, 4), numbers(np.complex128, 4))
    check(getattr(np, name), FUNCTIONS[name], operands, ulps=16)


def test_movement_and_choice() -> None:
    x = numbers(np.complex64, 3, 4)
    check(np.transpose, FUNCTIONS["transpose"], (x,))
    check(np.concatenate, FUNCTIONS["concatenate"], ([x, T([[1.0, 2, 3, 4]])],))
    check(np.where, FUNCTIONS["where"], (x.array.real > 0, x, 0))
    check(np.count_nonzero, FUNCTIONS["count_nonzero"], (x,))
    check(np.zeros_like, FUNCTIONS["zeros_like"], (x,))
    check(np.polyval, FUNCTIONS["polyval"], ([1, 2j], x), ulps=8)


def test_astype_takes_the_real_part() -> None:
    x = numbers(np.complex128, 3)
    for dtype in (np.complex64, np.float64, np.int32, bool):
        check(np.astype, FUNCTIONS["astype"], (x, dtype))


@pytest.mark.parametrize("name", ["inv", "cholesky", "det", "solve"])
def test_factorizations_of_complex_matrices_are_refused_in_plain_words(name: str) -> None:
    operands = (numbers(np.complex128, 2, 2),) * (2 if name == "solve" else 1)
    with pytest.raises(UnsupportedError, match="complex matrices is not supported"):
        traced_call(FUNCTIONS[f"linalg.{name}"], operands, {})
