"""Sizes: the normal form means what the expression does, for all sizes that 0 is one of."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from graphopt import dims
from graphopt.dims import Size, symbol

NAMES: tuple[str, ...] = ("N", "M", "K")
Tree = Any  # a number, a name, or (operation, tree, tree)
N, M = symbol("N"), symbol("M")

FOLDS: Mapping[str, Callable[[Size, Size], Size | None]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "div": dims.floordiv,
    "min": dims.minimum,
    "max": dims.maximum,
    "broadcast": dims.broadcast,
}

trees: st.SearchStrategy[Tree] = st.recursive(
    st.integers(-3, 6) | st.sampled_from(NAMES),
    lambda inner: st.tuples(st.sampled_from(list(FOLDS)), inner, inner),
    max_leaves=7,
)
environments = st.fixed_dictionaries({name: st.integers(0, 6) for name in NAMES})


class UndefinedError(Exception):
    """A size that no tensor can have: a quotient by 0, axes that do not fit."""


def run(tree: Tree, sizes: Mapping[str, int]) -> int:
    """The value of an expression by the definition of its operations."""
    if isinstance(tree, int):
        return tree
    if isinstance(tree, str):
        return sizes[tree]
    a, b = run(tree[1], sizes), run(tree[2], sizes)
    return apply(tree[0], a, b)


def apply(operation: str, a: int, b: int) -> int:
    """One operation on numbers."""
    match operation:
        case "+":
            return a + b
        case "-":
            return a - b
        case "*":
            return a * b
        case "div":
            if b <= 0:
                raise UndefinedError
            return a // b
        case "min":
            return min(a, b)
        case "max":
            return max(a, b)
        case _:
            if a < 0 or b < 0 or (a != b and 1 not in (a, b)):
                raise UndefinedError
            return b if a == 1 else a


def build(tree: Tree) -> Size:
    """The normal form of an expression; raises UndefinedError for what cannot be one."""
    if isinstance(tree, int):
        return tree
    if isinstance(tree, str):
        return symbol(tree)
    a, b = build(tree[1]), build(tree[2])
    if tree[0] == "div" and isinstance(b, int) and b <= 0:
        raise UndefinedError
    made = FOLDS[tree[0]](a, b)
    if made is None:
        raise UndefinedError
    return made


def evaluate(size: Size, sizes: Mapping[str, int]) -> Size | None:
    """A normal form with numbers for its symbols."""

    def number(atom: dims.Symbol | dims.DimOf) -> Size | None:
        assert isinstance(atom, dims.Symbol)
        return sizes[atom.name]

    return dims.substitute(size, number)


@given(trees, environments)
def test_normal_form_has_the_value_of_the_expression(tree: Tree, sizes: dict[str, int]) -> None:
    try:
        wanted, size = run(tree, sizes), build(tree)
    except UndefinedError:
        return
    assert evaluate(size, sizes) == wanted


@given(trees, environments)
def test_lower_bounds_are_sound(tree: Tree, sizes: dict[str, int]) -> None:
    try:
        value, bound = run(tree, sizes), dims.lower(build(tree))
    except UndefinedError:
        return
    assert bound is None or bound <= value


@given(trees, trees, environments)
def test_proven_order_is_sound(a: Tree, b: Tree, sizes: dict[str, int]) -> None:
    try:
        proven = dims.at_most(build(a), build(b))
        assert not proven or run(a, sizes) <= run(b, sizes)
    except UndefinedError:
        return


@given(trees, trees, environments)
def test_exact_quotients_are_sound(a: Tree, b: Tree, sizes: dict[str, int]) -> None:
    try:
        product, divisor = run(("*", a, b), sizes), run(b, sizes)
        quotient = dims.divide_exact(build(("*", a, b)), build(b))
        if quotient is not None and divisor:
            value = evaluate(quotient, sizes)
            assert value is not None and value * divisor == product
    except UndefinedError:
        return


@given(trees, trees, environments)
def test_equal_sizes_are_equal_for_all_symbols(a: Tree, b: Tree, sizes: dict[str, int]) -> None:
    try:
        if build(a) == build(b):
            assert run(a, sizes) == run(b, sizes)
    except UndefinedError:
        return


@given(trees, st.permutations(NAMES))
def test_substituting_symbols_renames(tree: Tree, others: list[str]) -> None:
    renamed: dict[str, str] = dict(zip(NAMES, others, strict=True))

    def rename(part: Tree) -> Tree:
        if isinstance(part, tuple):
            return (part[0], rename(part[1]), rename(part[2]))
        return renamed.get(part, part) if isinstance(part, str) else part

    def symbol_for(atom: dims.Symbol | dims.DimOf) -> Size | None:
        assert isinstance(atom, dims.Symbol)
        return symbol(renamed[atom.name])

    try:
        size, wanted = build(tree), build(rename(tree))
    except UndefinedError:
        return
    assert dims.substitute(size, symbol_for) == wanted


def test_substituting_the_unknown_gives_nothing() -> None:
    assert dims.substitute(2 * N + M, lambda atom: None) is None
    assert dims.substitute(7, lambda atom: None) == 7


def test_one_normal_form() -> None:
    assert N + N == 2 * N and N - N == 0 and (N + 1) * (N - 1) == N * N - 1
    assert hash(N + M) == hash(M + N) and N + M != N * M
    assert dims.minimum(dims.minimum(N, N + M), 2 * N) == N
    assert dims.maximum(N, dims.maximum(M, N)) == dims.maximum(M, N)


def test_minima_have_one_form() -> None:
    """So the sizes of slices of slices, however they came to be, are seen to be equal."""
    inner = dims.maximum(0, N - 2)
    assert dims.minimum(3, N - 2) == dims.minimum(5, N) - 2
    assert dims.minimum(3, inner) == dims.maximum(0, dims.minimum(5, N) - 2)
    assert dims.maximum(0, dims.minimum(3, inner) - 1) == dims.maximum(0, dims.minimum(5, N) - 3)
    for n in range(9):
        assert evaluate(dims.minimum(3, N - 2), {"N": n}) == min(3, n - 2)
        both = dims.minimum(N + 2, M - 1)
        assert evaluate(both, {"N": n, "M": 2 * n}) == min(n + 2, 2 * n - 1)
        assert evaluate(dims.minimum(3, inner), {"N": n}) == min(3, max(0, n - 2))


def test_a_factor_cancels_only_if_it_is_not_zero() -> None:
    assert dims.floordiv(N * M, N) != M
    some = dims.maximum(N, 1)
    assert dims.floordiv(some * M, some) == M
    assert dims.floordiv(4 * N + 2, 2) == 2 * N + 1


def test_broadcast_is_not_known_to_be_the_greater() -> None:
    both = dims.broadcast(N, M)
    assert both is not None and both == dims.broadcast(M, N) != dims.maximum(N, M)
    assert evaluate(both, {"N": 0, "M": 1}) == 0
    assert evaluate(both, {"N": 2, "M": 3}) is None
    assert dims.broadcast(2, 3) is None


def test_pickled_size_is_equal_in_a_process_with_other_hashes() -> None:
    size = dims.floordiv(N * M + 1, dims.maximum(N, 1))
    code = (
        "import pickle, sys; from graphopt import dims; from graphopt.dims import symbol;"
        "N, M = symbol('N'), symbol('M');"
        "size = pickle.loads(sys.stdin.buffer.read());"
        "assert size == dims.floordiv(N * M + 1, dims.maximum(N, 1))"
    )
    subprocess.run([sys.executable, "-c", code], input=pickle.dumps(size), check=True)
