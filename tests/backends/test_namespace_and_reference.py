"""The namespace of kernels and the reference backend, on small graphs built by hand."""

from __future__ import annotations

from typing import Any
from weakref import ref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.backends import reference
from graphopt.backends.namespace import NUMPY
from graphopt.body import Body
from graphopt.dims import symbol
from graphopt.errors import ExecutionError, UnsupportedError, VerifyError
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.op import Array, Op, Xp, absent, op
from graphopt.structural import barrier, constant, graph_input, opaque, results, state
from graphopt.tensor import Tensor
from graphopt.types import DType, SequenceType, TensorType, Type

F32 = DType.FLOAT32
N = symbol("N")


def same_type(x: Node, *others: Node, **attrs: Any) -> Type:
    """The type rule of ops that keep the type of their first input."""
    return x.derived_type


@op("Test", domain="test")
def total(xp: Xp, *xs: Array) -> Array:
    """The sum of what is there."""
    return sum(x for x in xs if x is not None)


@total.infer
def _(*xs: Node | None) -> Type:
    return next(x.derived_type for x in xs if x is not None)


@op("Fails", domain="test")
def fails(xp: Xp, x: Array, *, on_purpose: int = 0) -> Array:
    """Nothing: it fails."""
    if on_purpose:
        raise VerifyError("a rule of the house", at="there")
    raise KeyError("lost")


fails.infer(same_type)


@op("Both", domain="test")
def both(xp: Xp, x: Array, y: Array, *, outputs: int = 2) -> tuple[Array, ...]:
    """y and x."""
    return (y, x)


@both.infer
def _(x: Node, y: Node, *, outputs: int) -> tuple[Type, ...]:
    return (y.derived_type, x.derived_type)


@op("Turn", domain="test")
def turn(xp: Xp, x: Array) -> Array:
    """The transposed matrix, as a view."""
    return x.T


@turn.infer
def _(x: Node) -> Type:
    return TensorType(x.dtype, None if x.shape is None else x.shape[::-1])


@op("Call", domain="test")
def call(xp: Xp, *xs: Array, body: Body, outputs: int = 1) -> Array | tuple[Array, ...]:
    """The outputs of a body."""
    made: tuple[Array, ...] = xp.call(body, xs)
    return made if outputs > 1 else made[0]


@call.infer
def _(*xs: Node, body: Body, outputs: int) -> Type | tuple[Type, ...]:
    kinds = body.result_types(xs)
    return kinds if outputs > 1 else kinds[0]


def value(name: str, *shape: Any, dtype: DType = F32) -> Node:
    return graph_input(name, TensorType(dtype, shape))


def graph(inputs: list[Node], outputs: list[Node], **more: Any) -> Graph:
    names = tuple(f"y{k}" for k in range(len(outputs)))
    return Graph(tuple(inputs), tuple(outputs), names, **more)


def ones(*shape: int) -> Array:
    return np.ones(shape, np.float32)


x, w = value("x", N, 2), value("w", 3, N)
pair = graph([x, w], [x, w])


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({"x": ones(4, 2)}, "input 'w': the input is missing"),
        ({"x": ones(4, 2), "w": ones(3, 4), "v": 1}, "no input 'v'"),
        ({"x": np.ones((4, 2)), "w": ones(3, 4)}, "input 'x': dtype float64 where float32"),
        ({"x": ones(4), "w": ones(3, 4)}, r"input 'x': shape \(4,\) where float32\[N, 2\]"),
        ({"x": ones(4, 3), "w": ones(3, 4)}, "input 'x': axis 1 is 3"),
        ({"x": ones(4, 2), "w": ones(3, 5)}, "input 'w': axis 1 is 5, but N is 4"),
    ],
)
def test_inputs_are_checked(feeds: dict[str, Any], message: str) -> None:
    with pytest.raises(ExecutionError, match=message):
        reference.run(pair, feeds)


def test_a_name_is_one_size_within_an_input() -> None:
    square = value("s", N, N)
    assert reference.run(graph([square], [square]), {"s": ones(2, 2)})[0].shape == (2, 2)
    with pytest.raises(ExecutionError, match="axis 1 is 3, but N is 2"):
        reference.run(graph([square], [square]), {"s": ones(2, 3)})


def test_what_is_not_known_may_be_anything() -> None:
    free, rankless = value("free", None, None), graph_input("any", TensorType(F32, None))
    feeds = {"free": ones(2, 3), "any": ones(1, 1, 1)}
    a, b = reference.run(graph([free, rankless], [free, rankless]), feeds)
    assert a.shape == (2, 3) and b.shape == (1, 1, 1)


def test_inputs_may_be_lists_texts_and_sequences() -> None:
    number, text = value("n", 2, dtype=DType.INT64), value("t", 2, dtype=DType.STRING)
    many = graph_input("many", SequenceType(TensorType(F32, None)))
    feeds = {"n": [1, 2], "t": np.array(["a", "bc"]), "many": [ones(1), ones(2)]}
    n, t, m = reference.run(graph([number, text, many], [number, text, many]), feeds)
    assert n.tolist() == [1, 2] and m is feeds["many"]
    assert t.dtype == object and t.tolist() == ["a", "bc"]


def test_a_default_may_be_overridden() -> None:
    scale = value("scale", 2)
    doubled = graph([x, scale], [total(x, scale)], defaults={scale: Tensor.of(ones(2))})
    assert reference.run(doubled, {"x": ones(1, 2)})[0].tolist() == [[2, 2]]
    feeds = {"x": ones(1, 2), "scale": 3 * ones(2)}
    assert reference.run(doubled, feeds)[0].tolist() == [[4, 4]]
    with pytest.raises(ExecutionError, match="input 'scale': axis 0 is 3"):
        reference.run(doubled, {"x": ones(1, 2), "scale": ones(3)})
    assert doubled.defaults[scale].array.tolist() == [1, 1]


def test_outputs_may_be_inputs_constants_and_the_same() -> None:
    y = total(x, x)
    made = reference.run(graph([x], [x, y, y, constant(2.0), x]), {"x": ones(1, 2)})
    assert made[0] is made[4] and made[1] is made[2]
    assert made[3] == 2 and isinstance(made[3], np.ndarray)


def test_scalars_are_arrays() -> None:
    scalar = value("s")
    (made,) = reference.run(graph([scalar], [total(scalar, scalar)]), {"s": np.float32(2)})
    assert made.shape == () and made == 4 and isinstance(made, np.ndarray)


def test_an_absent_input_is_none() -> None:
    (made,) = reference.run(graph([x], [total(absent, x, None, x)]), {"x": ones(1, 2)})
    assert made.tolist() == [[2, 2]]


def test_every_output_of_a_node_is_found() -> None:
    first, second = results(both(x, w))
    made = reference.run(graph([x, w], [second, first]), {"x": ones(4, 2), "w": ones(3, 4)})
    assert [a.shape for a in made] == [(4, 2), (3, 4)]
    (only,) = reference.run(graph([x, w], [first]), {"x": ones(4, 2), "w": ones(3, 4)})
    assert only.shape == (3, 4)


def test_arrays_of_the_caller_are_left_alone() -> None:
    feeds = {"x": ones(2, 2)}
    feeds["x"].flags.writeable = False
    reference.run(graph([x], [total(x, x)]), feeds)
    assert list(feeds) == ["x"] and feeds["x"].tolist() == [[1, 1], [1, 1]]


def watched(alive: list[int]) -> Op:
    """An op that adds 1, and notes how many of its earlier results are still there."""
    made: list[ref[Array]] = []

    def kernel(xp: Xp, x: Array, *, k: int) -> Array:
        """x + 1."""
        alive.append(sum(item() is not None for item in made))
        result = x + 1
        made.append(ref(result))
        return result

    step = Op("Step", kernel, domain="test")
    step.infer(same_type)
    return step


def test_values_are_dropped_after_their_last_use() -> None:
    alive: list[int] = []
    step, y = watched(alive), x
    for k in range(20):
        y = step(y, k=k)
    (made,) = reference.run(graph([x], [y]), {"x": ones(100, 2)})
    assert made[0, 0] == 21
    assert max(alive) == 1  # the operand


def test_a_value_lives_as_long_as_somebody_wants_it() -> None:
    alive: list[int] = []
    step = watched(alive)
    first = step(x, k=0)
    y = step(step(step(first, k=1), k=2), k=3)
    (made,) = reference.run(graph([x], [total(y, first)]), {"x": ones(1, 2)})
    assert made.tolist() == [[7, 7]] and alive == [0, 1, 2, 2]
    alive.clear()
    made, kept = reference.run(graph([x], [y, first]), {"x": ones(1, 2)})
    assert kept.tolist() == [[2, 2]]


def test_deep_graphs_do_not_recurse() -> None:
    y = x
    for k in range(5000):
        y = barrier(y, k=k)
    (made,) = reference.run(graph([x], [y]), {"x": ones(1, 2)})
    assert made.tolist() == [[1, 1]]


def test_kernels_get_contiguous_arrays() -> None:
    seen: list[bool] = []

    def kernel(xp: Xp, *xs: Array) -> Array:
        """The first."""
        seen.extend(item.flags.c_contiguous for item in xs)
        return xs[0]

    look = Op("Look", kernel, domain="test")
    look.infer(same_type)
    m = value("m", 3, 4)
    turned = turn(m)
    feeds = {"m": np.asfortranarray(np.arange(12, dtype=np.float32).reshape(3, 4))}
    (made,) = reference.run(graph([m], [look(turned, m)]), feeds)
    assert seen == [True, True]
    np.testing.assert_array_equal(made, feeds["m"].T)


def test_a_failing_kernel_is_named() -> None:
    bad = fails(total(x, x))
    with pytest.raises(ExecutionError, match="KeyError: 'lost'") as caught:
        reference.run(graph([x], [bad]), {"x": ones(1, 2)})
    assert caught.value.at == bad.label and bad.label.startswith("Fails@")
    assert isinstance(caught.value.__cause__, KeyError)


def test_errors_of_the_house_pass_unchanged() -> None:
    with pytest.raises(VerifyError, match="there: a rule of the house"):
        reference.run(graph([x], [fails(x, on_purpose=1)]), {"x": ones(1, 2)})


def test_what_has_no_kernel_is_unsupported() -> None:
    custom = opaque("acme", "Magic", (x,), origin=1, types=(x.derived_type,), attrs={})
    with pytest.raises(UnsupportedError, match="acme::Magic"):
        reference.run(graph([x], [custom]), {"x": ones(1, 2)})
    with pytest.raises(UnsupportedError, match="effects"):
        reference.run(graph([x], [x], effects=(state("v", "variable"),)), {"x": ones(1, 2)})


def test_arithmetic_is_silent() -> None:
    @op("Log", domain="test")
    def log(xp: Xp, x: Array) -> Array:
        """The logarithm."""
        return xp.log(x)

    log.infer(same_type)
    with np.errstate(all="raise"):
        (made,) = reference.run(graph([x], [log(x)]), {"x": np.array([[0, -1]], np.float32)})
    assert made[0, 0] == -np.inf and np.isnan(made[0, 1])


def test_bodies_run_on_arguments_and_captures() -> None:
    a, b, c = value("a", 2), value("b", 2), value("c", 2)
    body = Body.close([a, b], [c], [total(a, c, constant(ones(2))), b, b, constant(5.0)])
    made = reference.run_body(body, [ones(2), 2 * ones(2), 3 * ones(2)])
    assert [item.tolist() for item in made] == [[5, 5], [2, 2], [2, 2], 5]


def test_bodies_nest() -> None:
    a, b = value("a", 2), value("b", 2)
    inner = Body.close([a], [b], [total(a, b), a])
    middle = Body.close([a], [b], list(results(call(total(a, a), b, body=inner, outputs=2))))
    first, second = results(call(a, b, body=middle, outputs=2))
    made = reference.run(graph([a, b], [first, second]), {"a": ones(2), "b": 3 * ones(2)})
    assert [item.tolist() for item in made] == [[5, 5], [2, 2]]


def test_an_error_in_a_body_names_the_node_inside() -> None:
    a = value("a", 2)
    node = call(a, body=Body.close([a], [], [fails(a)]))
    with pytest.raises(ExecutionError, match="^Fails@"):
        reference.run(graph([a], [node]), {"a": ones(2)})


def test_the_namespace_is_numpy() -> None:
    assert NUMPY.tanh is np.tanh
    with pytest.raises(AttributeError):
        _ = NUMPY.no_such_function
    assert NUMPY.dtype(DType.BFLOAT16).name == "bfloat16"
    assert NUMPY.dtype(DType.STRING).kind == "O"


SIGNED = st.integers(-128, 127)


@given(SIGNED, SIGNED.filter(bool))
def test_integers_are_divided_toward_zero(a: int, b: int) -> None:
    made = NUMPY.divide_integers(np.array([a], np.int8), np.array([b], np.int8))
    wanted = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
    assert made.dtype == np.int8 and made[0] == (wanted if wanted < 128 else -128)


def test_integer_division_broadcasts_and_fails_on_zero() -> None:
    big = np.array([2**64 - 1], np.uint64)
    made = NUMPY.divide_integers(big, np.array([[2], [3]], np.uint64))
    assert made.tolist() == [[2**63 - 1], [(2**64 - 1) // 3]]
    with pytest.raises(ZeroDivisionError):
        NUMPY.divide_integers(big, np.array([1, 0], np.uint64))
    assert NUMPY.divide_integers(big, np.zeros(0, np.uint64)).shape == (0,)


@pytest.mark.parametrize(
    ("data", "source", "target", "wanted"),
    [
        ([-1.7, 1.7, -0.5], DType.FLOAT32, DType.INT32, [-1, 1, 0]),
        ([0.0, -0.0, 0.1, np.nan], DType.FLOAT32, DType.BOOL, [False, False, True, True]),
        ([300, -1], DType.INT32, DType.UINT8, [44, 255]),
        ([1e6, -1e6], DType.FLOAT32, DType.FLOAT16, [np.inf, -np.inf]),
        ([1e6, -1e6], DType.FLOAT32, DType.FLOAT8E4M3FN, [448, -448]),
        ([7, -8], DType.INT4, DType.FLOAT32, [7, -8]),
        (["1", "-2"], DType.STRING, DType.INT64, [1, -2]),
        (["1.5", "-INF"], DType.STRING, DType.FLOAT32, [1.5, -np.inf]),
        ([True, False], DType.BOOL, DType.FLOAT64, [1, 0]),
        ([1, 20], DType.INT64, DType.STRING, ["1", "20"]),
    ],
)
def test_casts(data: list[Any], source: DType, target: DType, wanted: list[Any]) -> None:
    with np.errstate(all="ignore"):
        made = NUMPY.cast(np.array(data, source.numpy), target)
    assert made.dtype == target.numpy
    assert made.tolist() == wanted
