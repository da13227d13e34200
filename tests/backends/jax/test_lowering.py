"""Programs of the jax backend: what is static, what is asked for, what comes out."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import graphopt
from graphopt.backends import jax as backend
from graphopt.backends import reference
from graphopt.backends.executable import NeedsValues, Options
from graphopt.body import Body
from graphopt.errors import (
    ExecutionError,
    GraphoptError,
    MissingExtraError,
    UnsupportedError,
)
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.ops.arithmetic import add, div, mul
from graphopt.ops.control import if_
from graphopt.ops.conv import conv
from graphopt.ops.generate import range_
from graphopt.ops.indexing import gather, scatter_nd
from graphopt.ops.linalg import gemm
from graphopt.ops.logic import greater
from graphopt.ops.movement import transpose
from graphopt.ops.rnn import gru
from graphopt.ops.selection import non_zero, top_k
from graphopt.ops.shape import expand, reshape, shape
from graphopt.records import Location, Tables
from graphopt.structural import constant, graph_input, results
from graphopt.tensor import Tensor
from graphopt.types import DType, SequenceType, TensorType
from tests.ops.harness import check_close, tensor

jax: Any = pytest.importorskip("jax", reason="the backend's library is an extra")

Array = Any
RNG = np.random.default_rng(0)


def given(name: str, *sizes: int | str, dtype: str = "float32") -> Node:
    return graph_input(name, tensor(dtype, *sizes))


def normal(*sizes: int, dtype: Any = np.float32) -> Array:
    return RNG.standard_normal(sizes).astype(dtype)


def graph(inputs: Sequence[Node], *outputs: Node) -> Graph:
    return Graph(tuple(inputs), outputs, tuple(f"y{k}" for k in range(len(outputs))))


def lower(made: Graph, arrays: Sequence[Array], *by_value: int, donate: Sequence[str] = ()) -> Any:
    known: Mapping[int, Array] = {k: arrays[k] for k in by_value}
    return backend.lower(made, arrays, known, Options(1, frozenset(donate)))


def check(made: Graph, arrays: Sequence[Array], *by_value: int, ulps: float = 64) -> Any:
    """The program of a graph on arrays gives what the reference gives."""
    program = lower(made, arrays, *by_value)
    wanted = reference.run(made, dict(zip(made.input_names, arrays, strict=True)))
    for one, other in zip(program(*arrays), wanted, strict=True):
        assert type(one) is np.ndarray and one.dtype == other.dtype
        check_close(one, other, ulps, overall=True)
    return program


X = given("x", 2, 3)
Y = given("y", 3)


def test_shapes_and_what_follows_from_them_are_static() -> None:
    x = given("x", "N", 4)
    rows = gather(shape(x), constant(0))
    places = range_(constant(0), rows, constant(1))
    y = add(expand(places, constant([4, 1])), constant([[1]]))
    made = graph((x,), y, reshape(x, mul(shape(x), constant([2, 1]))), shape(x))
    with pytest.raises(ExecutionError, match="Reshape"):  # twice as many elements
        lower(made, [normal(3, 4)])
    check(graph((x,), y, shape(x), transpose(x)), [normal(3, 4)])


def test_content_of_small_integer_inputs_is_asked_for() -> None:
    target = given("target", 2, dtype="int64")
    made = graph((X, target), reshape(X, add(target, target)))
    arrays = [normal(2, 3), np.array([1, 1])]
    with pytest.raises(NeedsValues) as caught:
        lower(made, arrays)
    assert caught.value.inputs == {1}
    arrays = [normal(2, 6), np.array([2, 1])]
    x = given("x", 2, 6)
    program = check(graph((x, target), reshape(x, add(target, constant([2, 2])))), arrays, 1)
    (again,) = program(arrays[0], np.array([99, 99]))  # made for [2, 1]
    assert again.shape == (4, 3)


def test_content_of_other_inputs_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="NonZero.*content of input 'x'.*backend='numpy'"):
        lower(graph((X,), non_zero(X)), [normal(2, 3)])
    many = given("many", 65, dtype="int64")
    with pytest.raises(UnsupportedError, match="'many'"):
        lower(graph((many,), non_zero(many)), [np.arange(65)])


def test_only_the_inputs_behind_the_shape_are_asked_for() -> None:
    count = given("count", 1, dtype="int64")
    made = graph((X, count), *results(top_k(X, count)))
    with pytest.raises(NeedsValues) as caught:
        lower(made, [normal(2, 3), np.array([2])])
    assert caught.value.inputs == {1}
    check(made, [normal(2, 3), np.array([2])], 1)


def branches(then: Node, other: Node) -> tuple[Body, Body]:
    return Body.close((), (X, Y), (then,)), Body.close((), (X, Y), (other,))


def test_condition_on_content_becomes_a_conditional() -> None:
    first, second = branches(add(X, Y), mul(X, Y))
    limit = given("limit")
    cond = greater(limit, constant(np.float32(0)))
    made = graph((X, Y, limit), if_(cond, X, Y, then_branch=first, else_branch=second))
    arrays = [normal(2, 3), normal(3)]
    program = check(made, [*arrays, np.array(1, np.float32)])
    for number in (1, -1):
        (one,) = program(*arrays, np.array(number, np.float32))
        np.testing.assert_array_equal(one, arrays[0] + arrays[1] if number > 0 else
                                      arrays[0] * arrays[1])  # fmt: skip


def test_condition_that_is_an_input_is_asked_for() -> None:
    first, second = branches(add(X, Y), transpose(X))  # of different shapes
    cond = given("cond", dtype="bool")
    made = graph((X, Y, cond), if_(cond, X, Y, then_branch=first, else_branch=second))
    arrays = [normal(2, 3), normal(3)]
    with pytest.raises(NeedsValues) as caught:
        lower(made, [*arrays, np.array(True)])
    assert caught.value.inputs == {2}
    for flag in (True, False):
        check(made, [*arrays, np.array(flag)], 2)


def test_condition_whose_branches_have_different_shapes() -> None:
    first, second = branches(add(X, Y), transpose(X))
    rate, limit = given("rate", dtype="int64"), given("limit")
    made = graph((X, Y, rate), if_(greater(rate, constant(3)), X, Y, then_branch=first,
                                   else_branch=second))  # fmt: skip
    with pytest.raises(NeedsValues) as caught:
        lower(made, [normal(2, 3), normal(3), np.array(4)])
    assert caught.value.inputs == {2}
    cond = greater(limit, constant(np.float32(3)))
    made = graph((X, Y, limit), if_(cond, X, Y, then_branch=first, else_branch=second))
    with pytest.raises(UnsupportedError, match="which branch runs.*'limit'"):
        lower(made, [normal(2, 3), normal(3), np.array(4, np.float32)])


def large_constants() -> dict[str, tuple[Graph, list[Array]]]:
    """Programs in which a large constant is met in different ways, with inputs."""
    x, cond = given("x", "N", 3), given("c")
    wide = constant(normal(3, 200))
    inside = Body.close((), (X,), (gather(wide, constant(np.arange(100)), axis=1), X)[:1])
    known = greater(cond, constant(np.float32(0)))
    grown = expand(constant(normal(1, 3)), add(shape(x), constant([199, 0])))
    return {
        "used": (graph((X,), mul(X, constant(normal(100, 2, 3)))), [normal(2, 3)]),
        "computed before": (graph((X,), mul(X, transpose(constant(normal(3, 2, 100))))), []),
        "computed of shapes": (graph((x,), add(grown, gather(x, constant([0])))), [normal(1, 3)]),
        "in a branch": (
            graph((X, cond), if_(known, X, then_branch=inside, else_branch=inside)),
            [normal(2, 3), np.array(1, np.float32)],
        ),
    }


@pytest.mark.parametrize("name", ["used", "computed before", "computed of shapes", "in a branch"])
def test_large_constants_are_arguments(name: str) -> None:
    made, arrays = large_constants()[name]
    program = check(made, arrays or [normal(2, 3)])
    assert program.weight_bytes >= 1200


def test_small_constants_and_splats_are_not() -> None:
    splat = constant(Tensor.splat(DType.FLOAT32, (100, 2, 3), 7))
    program = check(graph((X,), add(X, constant(normal(3))), add(X, splat)), [normal(2, 3)])
    assert program.weight_bytes == 0


def test_constant_is_known_and_an_operand() -> None:
    """A large constant whose content shapes the result, and which is computed with."""
    sizes = constant(np.array([2, 3] + [1] * 198))
    x = given("x", 6)
    made = graph((x,), reshape(x, gather(sizes, constant([0, 1]))), add(sizes, shape(x)))
    check(made, [normal(6)])


def test_outputs_are_of_the_kind_of_the_inputs() -> None:
    made = graph((X, Y), add(X, Y))
    program = lower(made, [normal(2, 3), normal(3)])
    assert type(program(normal(2, 3), normal(3))[0]) is np.ndarray
    assert isinstance(program(normal(2, 3), jax.numpy.asarray(normal(3)))[0], jax.Array)


def test_inputs_and_constants_may_be_outputs() -> None:
    unused = given("unused", 5)
    made = graph((unused, X), X, constant([1, 2]), constant(normal(1000)), shape(X))
    check(made, [normal(5), normal(2, 3)])


def test_wide_numbers_stay_wide_and_settings_are_left() -> None:
    before = jax.config.jax_enable_x64, jax.config.jax_default_matmul_precision
    n, d = given("n", 2, dtype="int64"), given("d", 2, dtype="float64")
    made = graph((n, d), add(n, constant([1, 2])), div(d, constant(np.array([3.0, 7.0]))))
    program = check(made, [np.array([2**62, -1]), normal(2, dtype=np.float64)])
    assert (jax.config.jax_enable_x64, jax.config.jax_default_matmul_precision) == before
    (first, _) = program(np.array([2**40, 0]), normal(2, dtype=np.float64))
    assert first[0] == 2**40 + 1


def test_wide_arrays_of_jax_are_taken_outside_of_the_scope() -> None:
    from graphopt.backends.jax import scope

    n = given("n", 2, dtype="int64")
    program = lower(graph((n,), add(n, n)), [np.array([1, 2])])
    with scope.wide():
        array = jax.device_put(np.array([2**40, 1]))
    (made,) = program(array)
    assert isinstance(made, jax.Array) and np.asarray(made).tolist() == [2**41, 2]


def test_donated_memory_is_gone() -> None:
    x = given("x", 4000)
    made = graph((x,), add(x, x))
    arrays = [normal(4000)]
    kept = arrays[0].copy()
    program = lower(made, arrays, donate=["x"])
    np.testing.assert_array_equal(program(*arrays)[0], kept + kept)
    np.testing.assert_array_equal(arrays[0], kept)  # NumPy's memory is the caller's
    array = jax.device_put(kept)
    program(array)
    assert array.is_deleted()
    undonated = jax.device_put(kept)
    lower(made, arrays)(undonated)
    assert not undonated.is_deleted()


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("steps", [0, 3, 40])
def test_recurrent_layers_of_any_length(steps: int, direction: str) -> None:
    """Short ones are written out, long ones are loops; sequences may be shorter."""
    ways = 2 if direction == "bidirectional" else 1
    x, w, r = given("x", steps, 2, 4), given("w", ways, 15, 4), given("r", ways, 15, 5)
    lens = given("lens", 2, dtype="int32")
    node = gru(x, w, r, None, lens, hidden_size=5, direction=direction, outputs=2)
    arrays = [normal(steps, 2, 4), normal(ways, 15, 4), normal(ways, 15, 5)]
    check(graph((x, w, r, lens), *results(node)), [*arrays, np.array([steps, steps // 2], "i4")])


@pytest.mark.parametrize("bias", [None, (), (1,), (7,), (1, 1), (1, 7)])
@pytest.mark.parametrize("turned", [0, 1])
def test_products_of_one_row(turned: int, bias: tuple[int, ...] | None) -> None:
    a, b = given("a", *((5, 1) if turned else (1, 5))), given("b", 7, 5)
    c = None if bias is None else constant(normal(*bias))
    node = gemm(a, b, c, transA=turned, transB=1, alpha=0.5, beta=2.0)
    check(graph((a, b), node), [normal(*((5, 1) if turned else (1, 5))), normal(7, 5)], ulps=8)


@pytest.mark.parametrize(("groups", "filters"), [(1, 6), (2, 6), (4, 8), (12, 12), (12, 24)])
@pytest.mark.parametrize("sizes", [(1, 1), (3, 2), (9, 9)])
def test_convolutions_of_every_form(groups: int, filters: int, sizes: tuple[int, int]) -> None:
    x, w = given("x", 2, 12, 13, 14), given("w", filters, 12 // groups, *sizes)
    node = conv(x, w, group=groups, strides=(2, 1), pads=(1, 0, 2, 1), dilations=(1, 1))
    check(graph((x, w), node), [normal(2, 12, 13, 14), normal(filters, 12 // groups, *sizes)])


@pytest.mark.parametrize(("groups", "filters"), [(1, 6), (2, 6), (12, 12), (12, 24)])
@pytest.mark.parametrize("sizes", [(9,), (3, 1), (9, 9), (1, 2, 3)])
def test_convolutions_with_known_filters(groups: int, filters: int, sizes: tuple[int, ...]) -> None:
    """They may be stored in an order of their own, but are the same to all that take them."""
    shape, content = (2, 12, *(9 for _ in sizes)), normal(filters, 12 // groups, *sizes)
    x, w = given("x", *shape), constant(content)
    check(
        graph((x, Y), conv(x, w, group=groups), w, mul(w, gather(Y, constant(0)))),
        [normal(*shape), normal(3)],
    )


def test_known_filters_are_not_turned_in_the_program() -> None:
    x, w = given("x", 2, 12, 13, 14), constant(normal(24, 12, 3, 3))
    text: str = check(graph((x,), conv(x, w)), [normal(2, 12, 13, 14)]).compiled.as_text()
    assert "f32[3,3,12,24]{3,2,1,0} parameter(0)" in text
    assert "[24,12,3,3]" not in text


def test_writing_at_positions() -> None:
    at = given("at", 2, 1, dtype="int64")
    made = graph((X, at, given("u", 2, 3)), scatter_nd(X, at, given("u", 2, 3), reduction="add"))
    check(made, [normal(2, 3), np.array([[1], [-1]]), normal(2, 3)])


def test_static_mistakes_are_found() -> None:
    with pytest.raises(ExecutionError, match=r"Gather.*IndexError.*axis 0 of size 2"):
        lower(graph((X,), gather(X, constant([2]))), [normal(2, 3)])
    n = given("n", 2, dtype="int64")
    with pytest.raises(ExecutionError, match="Div.*integer division by zero"):
        lower(graph((n,), div(n, constant([1, 0]))), [np.array([1, 2])])


def test_what_jax_has_not_is_refused() -> None:
    words = given("s", 2, dtype="string")
    with pytest.raises(UnsupportedError, match="input 's': jax has no strings"):
        lower(graph((words,), words), [np.array(["a", "b"], object)])
    several = graph_input("many", SequenceType(TensorType(DType.FLOAT32, (2,))))
    with pytest.raises(UnsupportedError, match="input 'many': jax has no sequence"):
        lower(graph((several,), several), [[normal(2)]])
    with pytest.raises(UnsupportedError, match="no strings"):
        lower(graph((X,), constant(["a"])), [normal(2, 3)])


def test_executable_specializes_by_itself() -> None:
    target = given("target", 2, dtype="int64")
    run = graphopt.compile(graph((X, target), reshape(X, target)), "jax")
    x = normal(2, 3)
    for sizes in ([3, 2], [6, 1], [3, 2]):
        np.testing.assert_array_equal(run(x, np.array(sizes))[0], x.reshape(sizes))
    assert run.by_value == {1}


def test_failing_kernel_names_its_node() -> None:
    x = given("x", "N")
    made = graph((x,), reshape(x, constant([2, 2])))
    with pytest.raises(ExecutionError, match="^Reshape@"):
        lower(made, [normal(5)])
    (failing,) = made.outputs
    located = replace(made, tables=Tables(locations={failing: Location("model.py", 7)}))
    with pytest.raises(ExecutionError, match=r"^Reshape@\w+ \(model.py:7\): "):
        lower(located, [normal(5)])
    n = given("n", "N", dtype="int64")
    failing = div(shape(n), constant([0]))  # on the host
    located = replace(graph((n,), failing), tables=Tables(locations={failing: Location("a.py", 3)}))
    with pytest.raises(ExecutionError, match=r"^Div@\w+ \(a.py:3\): "):
        lower(located, [np.arange(2)])


def test_missing_library_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("graphopt.backends.jax.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(MissingExtraError, match=r"jax is not installed: pip install.*\[jax\]"):
        graphopt.compile(graph((X,), add(X, X)), "jax")
    assert issubclass(MissingExtraError, GraphoptError)


def test_other_backends_do_not_import_jax() -> None:
    text = (
        "import sys, numpy as np, graphopt; from graphopt.structural import graph_input as i;"
        "from graphopt.types import TensorType as T, DType as D; from graphopt.graph import Graph;"
        "x = i('x', T(D.FLOAT32, (2,))); g = Graph((x,), (x,), ('y',));"
        "graphopt.compile(g, 'reference')(np.ones(2, 'f')); print('jax' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
