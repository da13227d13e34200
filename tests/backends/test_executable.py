"""Executables: what they take, which programs they make and keep, and what they say of errors."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import graphopt
from graphopt.backends import executable
from graphopt.backends import numpy as backend
from graphopt.backends.executable import MAX_CONTENTS, Executable, Options, Program, Spec
from graphopt.body import Body
from graphopt.errors import ExecutionError, GraphoptError, UnsupportedError, UsageError
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.ops.arithmetic import add, div, mul
from graphopt.ops.cast import identity
from graphopt.ops.control import if_
from graphopt.ops.functions import neg, sqrt
from graphopt.ops.shape import reshape
from graphopt.ops.slicing import slice_
from graphopt.structural import constant, graph_input, state
from graphopt.tensor import Tensor
from graphopt.types import DType
from tests.ops.harness import tensor

Array = Any
F32 = np.float32
X = graph_input("x", tensor("float32", "N", 3))
Y = graph_input("y", tensor("float32", "N", 3))


def graph(*outputs: Node, inputs: tuple[Node, ...] = (X,)) -> Graph:
    return Graph(inputs, outputs, tuple(f"y{k}" for k in range(len(outputs))), name="g")


def ones(*shape: int) -> Array:
    return np.ones(shape, F32)


class Counter:
    """Counts how often a backend makes a program."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(
        self, graph: Graph, inputs: Sequence[Any], by_value: Mapping[int, Any], options: Options
    ) -> Program:
        self.count += 1
        return backend.lower(graph, inputs, by_value, options)


@pytest.fixture
def lowered() -> Counter:
    return Counter()


def executable_of(made: Graph, lower: Counter) -> Executable:
    return Executable(made, "numpy", lower, Options())


# Inputs.


@pytest.mark.parametrize("name", ["numpy", "reference"])
def test_inputs_by_position_name_and_default(name: str) -> None:
    made = Graph((X, Y), (add(X, neg(Y)),), ("z",), defaults={Y: Tensor.of(ones(2, 3))})
    run = graphopt.compile(made, name)
    x = ones(2, 3) * 5
    for outputs in (run(x, ones(2, 3)), run(x, y=ones(2, 3)), run(y=ones(2, 3), x=x), run(x)):
        np.testing.assert_array_equal(outputs, [x - 1])
    np.testing.assert_array_equal(run(x=x, y=x), [x - x])


WRONG: list[tuple[Callable[[Executable], Any], str]] = [
    (lambda run: run(), "input 'x': the input is missing"),
    (lambda run: run(ones(2, 3)), "input 'y': the input is missing"),
    (lambda run: run(ones(2, 3), ones(2, 3), ones(2, 3)), "g: 3 arrays where 2 inputs"),
    (lambda run: run(ones(2, 3), x=ones(2, 3)), "input 'x': given twice"),
    (lambda run: run(ones(2, 3), yy=ones(2, 3)), r"no input 'yy' \(did you mean 'y'\?\)"),
    (lambda run: run(np.ones((2, 3)), ones(2, 3)), "input 'x': dtype float64 where float32"),
    (lambda run: run(ones(3), ones(2, 3)), r"input 'x': shape \(3,\) where"),
    (lambda run: run(ones(2, 4), ones(2, 3)), "input 'x': axis 1 is 4 where"),
    (lambda run: run(ones(2, 3), ones(1, 3)), "input 'y': axis 0 is 1, but N is 2"),
    (lambda run: run(None, ones(2, 3)), "input 'x': dtype object"),
]
"""Calls of a graph of two inputs, and what is said of them."""


@pytest.mark.parametrize(("call", "text"), WRONG)
@pytest.mark.parametrize("warm", [False, True])
def test_inputs_that_are_wrong(call: Callable[[Any], Any], text: str, warm: bool) -> None:
    run = graphopt.compile(graph(add(X, Y), inputs=(X, Y)))
    if warm:
        run(ones(2, 3), ones(2, 3))
    for _ in range(2):
        with pytest.raises(ExecutionError, match=text):
            call(run)
    np.testing.assert_array_equal(run(ones(2, 3), ones(2, 3)), [2 * ones(2, 3)])


def test_an_input_may_be_called_anything() -> None:
    for name in ("self", "arrays", "named", "lambda", "a b", ""):
        x = graph_input(name, tensor("float32", 2))
        run = graphopt.compile(graph(neg(x), inputs=(x,)))
        np.testing.assert_array_equal(run(**{name: ones(2)}), [-ones(2)])


@pytest.mark.parametrize(
    "given",
    [
        [1.0, 2.0],
        (1.0, 2.0),
        np.array([1.0, 2.0]).astype(">f8"),
        np.array([[1.0, 0.0], [2.0, 0.0]])[:, 0],
        np.array([2.0, 1.0])[::-1],
        np.broadcast_to(np.array([1.0, 2.0]), (2, 2))[0],
        np.array([1.0, 2.0]).view(np.recarray),
        array("d", [1.0, 2.0]),
    ],
    ids=["list", "tuple", "endian", "column", "reversed", "row", "subclass", "buffer"],
)
@pytest.mark.parametrize("size", [2, "N"])
def test_what_counts_as_an_array(given: Any, size: Any) -> None:
    x = graph_input("x", tensor("float64", size))
    run = graphopt.compile(graph(neg(x), identity(x), inputs=(x,)))
    for _ in range(2):
        for made, wanted in zip(run(given), ([-1.0, -2.0], [1.0, 2.0]), strict=True):
            assert type(made) is np.ndarray
            assert made.dtype == np.dtype("=f8")
            np.testing.assert_array_equal(made, wanted)


@pytest.mark.parametrize("number", [2.5, np.float64(2.5), np.array(2.5)])
def test_scalars(number: Any) -> None:
    x = graph_input("x", tensor("float64"))
    (made,) = graphopt.compile(graph(neg(sqrt(mul(x, x))), inputs=(x,)))(number)
    assert (type(made), made.shape, float(made)) == (np.ndarray, (), -2.5)


def test_nothing_in_it() -> None:
    run = graphopt.compile(graph(neg(X)))
    assert run(ones(0, 3))[0].shape == (0, 3)
    assert run(ones(2, 3))[0].shape == (2, 3)


def test_strings() -> None:
    s = graph_input("s", tensor("string", "N"))
    run = graphopt.compile(graph(identity(s), inputs=(s,)))
    for words in (np.array(["ab", "c"]), np.array(["abc", "d"], object), ["e", "f"]):
        for (made,) in (run(words), run(s=words)):
            assert made.dtype == object
            assert made.tolist() == list(words)
    assert len(run._programs) == 1


def test_graphs_without_inputs_or_outputs() -> None:
    run = graphopt.compile(graph(constant([1, 2], DType.INT64), inputs=()))
    (first,), (second,) = run(), run()
    first[...] = 0
    assert second.tolist() == [1, 2] == run()[0].tolist()
    assert graphopt.compile(Graph((X,), (), ()))(ones(1, 3)) == ()


# Programs.


def test_a_program_for_each_signature(lowered: Counter) -> None:
    run = executable_of(graph(neg(X)), lowered)
    assert lowered.count == 0
    for count, rows in enumerate((1, 2, 3), start=1):
        for _ in range(3):
            run(ones(rows, 3))
        assert lowered.count == count


def test_what_is_equal_shares_a_program(lowered: Counter) -> None:
    run = executable_of(graph(neg(X)), lowered)
    for x in (ones(2, 3), ones(3, 2).T, ones(2, 3).astype(">f4")):
        run(x)
    with pytest.raises(ExecutionError, match="float64"):
        run(ones(2, 3).tolist())
    run(x=ones(2, 3))
    assert run.prepare(Spec((2, 3), np.dtype(F32))) is run.prepare(ones(2, 3))
    assert lowered.count == 1


def test_the_oldest_program_goes(lowered: Counter) -> None:
    run = executable_of(graph(neg(X)), lowered)
    for rows in range(executable.MAX_PROGRAMS + 1):
        run(ones(rows, 3))
    before = lowered.count
    assert (len(run._programs), before) == (executable.MAX_PROGRAMS, executable.MAX_PROGRAMS + 1)
    run(ones(executable.MAX_PROGRAMS, 3))
    assert lowered.count == before
    run(ones(0, 3))
    assert lowered.count == before + 1


def test_static_graphs_are_compiled_ahead(lowered: Counter) -> None:
    x = graph_input("x", tensor("float32", 2))
    run = executable_of(graph(neg(x), inputs=(x,)), lowered)
    assert lowered.count == 1
    run(ones(2))
    assert lowered.count == 1
    assert "1 steps on 1 lane" in str(run.plan)


def test_prepare() -> None:
    run = graphopt.compile(graph(add(X, Y), inputs=(X, Y)))
    spec = Spec((2, 3), np.dtype(F32))
    program = run.prepare(spec, spec)
    assert program is not None
    np.testing.assert_array_equal(program(ones(2, 3), ones(2, 3)), [2 * ones(2, 3)])


@pytest.mark.parametrize(
    "specs",
    [
        (),
        (Spec((2, 3), np.dtype(F32)),),
        (Spec((2, 3), np.dtype(F32)),) * 3,
        (Spec((2, 3), np.dtype("f8")),) * 2,
        (Spec((3,), np.dtype(F32)),) * 2,
        (Spec((2, 3), np.dtype(F32)), Spec((1, 3), np.dtype(F32))),
        (ones(2, 3), np.ones((2, 3))),
    ],
)
def test_prepare_refuses_what_a_call_would(specs: Any) -> None:
    run = graphopt.compile(graph(add(X, Y), inputs=(X, Y)))
    with pytest.raises(GraphoptError):
        run.prepare(*specs)
    assert not run._programs


# Programs that depend on content.


def test_a_branch_by_an_input(lowered: Counter) -> None:
    condition = graph_input("condition", tensor("bool"))
    bodies = {
        name: Body.close((), (X,), [made])
        for name, made in (("then_branch", neg(X)), ("else_branch", sqrt(X)))
    }
    run = executable_of(graph(if_(condition, X, **bodies), inputs=(condition, X)), lowered)
    for chosen in (True, False, True, False):
        wanted = -4 * ones(2, 3) if chosen else 2 * ones(2, 3)
        np.testing.assert_array_equal(run(np.array(chosen), 4 * ones(2, 3)), [wanted])
    assert run.by_value == {0}
    assert lowered.count == 3  # once to find out, then one for each
    assert run.prepare(np.array(True), ones(2, 3)) is None


def test_a_shape_by_an_input(lowered: Counter) -> None:
    to = graph_input("to", tensor("int64", 2))
    run = executable_of(graph(neg(reshape(X, to)), inputs=(X, to)), lowered)
    for shape in ((3, 2), (6, 1), (3, 2), (-1, 3), (1, 6)):
        (made,) = run(ones(2, 3), np.array(shape))
        assert made.shape == ones(2, 3).reshape(shape).shape
    assert run.by_value == {1}
    assert lowered.count == 5
    changing = np.array([3, 2])
    assert run(ones(2, 3), changing)[0].shape == (3, 2)
    changing[...] = (1, 6)
    assert run(ones(2, 3), changing)[0].shape == (1, 6)
    with pytest.raises(ExecutionError, match="Reshape"):
        run(ones(2, 3), np.array([4, 2]))


def test_bounds_by_two_inputs_one_of_them_derived() -> None:
    start, end = (graph_input(name, tensor("int64", 1)) for name in ("start", "end"))
    last = add(end, constant([1], DType.INT64))
    run = graphopt.compile(graph(neg(slice_(X, start, last)), inputs=(X, start, end)))
    for low, high in ((0, 1), (1, 2), (0, 3), (2, 1)):
        x = np.arange(12, dtype=F32).reshape(4, 3)
        (made,) = run(x, np.array([low]), np.array([high]))
        np.testing.assert_array_equal(made, -x[low : high + 1])
    assert run.by_value == {1, 2}


def test_what_changes_at_every_call_is_not_asked_for_ever(lowered: Counter) -> None:
    start = graph_input("start", tensor("int64", 1))
    made = graph(neg(slice_(X, start, constant([99], DType.INT64))), inputs=(X, start))
    run = executable_of(made, lowered)
    x = np.arange(180, dtype=F32).reshape(60, 3)
    for low in range(50):
        np.testing.assert_array_equal(run(x, np.array([low]))[0], -x[low:])
    assert run.by_value == frozenset()
    assert lowered.count == MAX_CONTENTS + 2  # once to find out, and once to do without


# Failures.


def test_what_cannot_be_compiled() -> None:
    with pytest.raises(UsageError, match=r"no backend is called 'nump' \(did you mean 'numpy'\?\)"):
        graphopt.compile(graph(neg(X)), "nump")
    with pytest.raises(UsageError, match="0 threads"):
        graphopt.compile(graph(neg(X)), threads=0)
    with pytest.raises(UsageError, match=r"no input 'z'.*"):
        graphopt.compile(graph(neg(X)), donate=["z"])
    with pytest.raises(UsageError, match="nothing is planned yet"):
        _ = graphopt.compile(graph(neg(X))).plan
    with pytest.raises(UsageError, match="reference backend has no profile"):
        graphopt.compile(graph(neg(X)), "reference").profile(ones(2, 3))


def test_a_failing_step_and_the_call_after_it() -> None:
    a, b = (graph_input(name, tensor("int32", "N")) for name in "ab")
    run = graphopt.compile(graph(neg(div(a, b)), inputs=(a, b)), threads=1)
    one = np.ones(4, np.int32)
    for _ in range(3):
        with pytest.raises(ExecutionError, match=r"Div.*ZeroDivisionError: integer division"):
            run(one, one * 0)
        np.testing.assert_array_equal(run(one, one), [-one])


def test_a_known_failure_is_told_when_it_is_compiled() -> None:
    zero = constant([0], DType.INT32)
    with pytest.raises(ExecutionError, match="integer division by zero"):
        graphopt.compile(graph(add(div(zero, zero), zero), inputs=()))


def test_effects_are_refused() -> None:
    held = state("s", "variable")
    made = Graph((X,), (neg(X),), ("y",), effects=(held,))
    with pytest.raises(UnsupportedError, match="effects"):
        graphopt.compile(made)(ones(2, 3))


def test_calls_from_many_threads(lowered: Counter) -> None:
    run = executable_of(graph(neg(sqrt(mul(X, X)))), lowered)

    def work(seed: int) -> bool:
        x = np.full((seed % 3 + 1, 3), seed, F32)
        return all(bool((run(x)[0] == -x).all()) for _ in range(50))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(12)))
    assert lowered.count == 3


def test_repr() -> None:
    text = repr(graphopt.compile(graph(neg(X))))
    assert text == "<g on numpy, 1 inputs: x: float32[N, 3]>"
