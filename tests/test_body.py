"""Bodies: closing and opening, what may not escape, and that equal bodies are one object."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.backends.reference import run_body
from graphopt.body import Body
from graphopt.dims import Size, dim_of, symbol
from graphopt.errors import VerifyError
from graphopt.ir import Node
from graphopt.ops.control import if_
from graphopt.ops.selection import non_zero
from graphopt.ops.shape import reshape, shape
from graphopt.ops.slicing import concat
from graphopt.structural import bound, constant, graph_input, refine, state
from graphopt.types import DType, SequenceType, TensorType, Type
from tests.strategies import bodies

F32 = DType.FLOAT32


def value(name: str, *sizes: Size | None) -> Node:
    return graph_input(name, TensorType(F32, sizes))


def named(name: str, kind: Type) -> Node:
    return graph_input(name, kind)


N, M = symbol("N"), symbol("M")
X, Y = value("x", 2, 3), value("y", 1, 3)


def test_equal_bodies_are_one_object_whatever_their_inputs_were_called() -> None:
    a, b = value("a", 2, 3), value("b", 1, 3)
    one = Body.close((X,), (Y,), (concat(X, Y, axis=0),))
    assert Body.close((a,), (b,), (concat(a, b, axis=0),)) is one
    assert one.captures == 1
    assert one.params == (X.type, Y.type)


THINNER = value("y", N, 3)
APART: list[Callable[[], Body]] = [
    lambda: Body.close((), (X, Y), (concat(X, Y, axis=0),)),  # no formal
    lambda: Body.close((X,), (Y,), (concat(Y, X, axis=0),)),
    lambda: Body.close((X,), (Y,), (concat(X, Y, axis=0),) * 2),
    lambda: Body.close((X,), (THINNER,), (concat(X, THINNER, axis=0),)),
]


@pytest.mark.parametrize("other", APART)
def test_bodies_that_differ_are_apart(other: Callable[[], Body]) -> None:
    assert other() is not Body.close((X,), (Y,), (concat(X, Y, axis=0),))


def test_a_captured_value_is_not_entered() -> None:
    """What is captured may be computed: only the value comes in."""
    both = concat(X, Y, axis=0)
    body = Body.close((), (both,), (concat(both, both, axis=0),))
    assert body.params == (TensorType(F32, (3, 3)),)
    z = value("z", 3, 3)
    assert body.open((z,))[1] == (concat(z, z, axis=0),)


def test_constants_are_free_and_outputs_may_be_parameters() -> None:
    number = constant(1)
    body = Body.close((X,), (), (X, number))
    assert body.outputs == (bound(0, X.type), number)


@pytest.mark.parametrize(
    "outputs", [(X,), (concat(Y, X, axis=0),), (state("weights", "variable"),)]
)
def test_values_that_escape_are_refused(outputs: tuple[Node, ...]) -> None:
    with pytest.raises(VerifyError, match="outside"):
        Body.close((), (Y,), outputs)


def test_parameters_of_another_body_are_refused() -> None:
    with pytest.raises(VerifyError, match="another body"):
        Body((X.type,), (bound(1, X.type),))
    with pytest.raises(VerifyError, match="another body"):
        Body((X.type,), (bound(0, Y.type),))


def test_a_parameter_named_twice_is_refused() -> None:
    with pytest.raises(VerifyError, match="one value"):
        Body.close((X, X), (), (X,))
    with pytest.raises(VerifyError, match="one value"):
        Body.close((X,), (X,), (X,))
    assert Body.close((), (X, X), (X,)).captures == 2


# Opening.


@given(bodies())
def test_open_then_close_gives_the_body(body: Body) -> None:
    inputs, outputs = body.open()
    count = len(inputs) - body.captures
    assert Body.close(inputs[:count], inputs[count:], outputs) is body


def test_bodies_survive_pickling_and_copying() -> None:
    x = value("x", N, None)
    body = Body.close((x,), (Y,), (concat(x, Y, axis=0), constant("text"), Y))
    assert pickle.loads(pickle.dumps(body)) is body
    assert copy.deepcopy(body) is body


def test_fresh_inputs_are_no_input_of_a_graph_or_of_another_body() -> None:
    one = Body.close((X,), (), (X,))
    two = Body.close((X,), (), (X, X))
    ((a,), _), ((b,), _) = one.open(), two.open()
    assert a is not b
    assert named("p0", X.type) not in (a, b)


def test_open_over_arguments_inlines_and_refines() -> None:
    x = value("x", None, 3)
    body = Body.close((x,), (), (concat(x, x, axis=0),))
    (made,) = body.open((Y,))[1]
    assert made is concat(Y, Y, axis=0)
    assert made.shape == (2, 3)


# Nested bodies.


def nested() -> tuple[Body, Body]:
    """(a body with an If in it, that If's then-branch)."""
    cond = graph_input("c", TensorType(DType.BOOL, ()))
    inner = Body.close((), (X, Y), (concat(X, Y, axis=0),))
    other = Body.close((), (X, Y), (X,))
    made = if_(cond, X, Y, then_branch=inner, else_branch=other)
    return Body.close((cond,), (X, Y), (made,)), inner


def test_nested_bodies_are_closed_by_themselves() -> None:
    outer, inner = nested()
    (made,) = outer.outputs
    assert made.attrs["then_branch"] is inner
    assert [item.op.name for item in made.inputs] == ["Bound"] * 3
    assert pickle.loads(pickle.dumps(outer)) is outer
    assert outer.outputs[0].type == TensorType(F32, (dim_of(made, 0), 3))


def test_run_of_nested_bodies() -> None:
    outer, _ = nested()
    x, y = np.ones((2, 3), np.float32), np.zeros((1, 3), np.float32)
    assert run_body(outer, (np.array(True), x, y))[0].tolist() == np.concatenate([x, y]).tolist()
    assert run_body(outer, (np.array(False), x, y))[0] is x


# Sizes.


def test_axes_of_values_outside_are_not_known_inside() -> None:
    """Two captures of one unknown size: inside nothing says so, outside the result has it again."""
    x = value("x", None, 2)
    y = refine(value("y", None, 2), type=TensorType(F32, (dim_of(x, 0), 2)))
    both = concat(x, y, axis=0)
    body = Body.close((), (x, y), (both,))
    assert body.params == (TensorType(F32, (None, 2)),) * 2
    assert body.result_types((x, y)) == (TensorType(F32, (2 * dim_of(x, 0), 2)),)
    assert body.result_types((x, Y))[0].shape == (dim_of(x, 0) + 1, 2)  # type: ignore[union-attr]


def test_named_sizes_are_known_inside() -> None:
    x = value("x", N, M)
    body = Body.close((), (x,), (reshape(x, constant([-1], DType.INT64)),))
    assert body.outputs[0].shape == (N * M,)
    assert body.result_types((x,)) == (TensorType(F32, (N * M,)),)


def test_sizes_that_only_running_the_body_tells_stay_inside() -> None:
    found = non_zero(X)
    body = Body.close((), (X,), (found, shape(found)))
    first, second = body.result_types((X,))
    assert first == TensorType(DType.INT64, (2, None))
    assert second == TensorType(DType.INT64, (2,), (2, None))


def test_known_elements_come_in_and_go_out() -> None:
    x = value("x", None, N)
    sizes = shape(x)
    body = Body.close((), (sizes,), (concat(sizes, constant([7], DType.INT64), axis=0),))
    assert body.params == (TensorType(DType.INT64, (2,), (None, N)),)
    assert body.result_types((sizes,)) == (TensorType(DType.INT64, (3,), (None, N, 7)),)


def test_sizes_in_other_types_than_tensors() -> None:
    x = value("x", None)
    many = named("many", SequenceType(TensorType(F32, (dim_of(x, 0), N))))
    body = Body.close((), (many,), (many,))
    assert body.params == (SequenceType(TensorType(F32, (None, N))),)
    assert body.result_types((many,)) == body.params


# Types among the attributes.


def test_an_attribute_that_speaks_of_a_capture_follows_it() -> None:
    x, y = value("x", N, 3), value("y", None, 3)
    vouched = refine(x, type=TensorType(F32, (dim_of(y, 0), 3)))
    body = Body.close((), (x, y), (vouched,))
    (made,) = body.outputs
    assert made.shape == (dim_of(bound(1, TensorType(F32, (None, 3))), 0), 3)
    assert body.result_types((x, y)) == (vouched.type,)
    assert body.open((x, y))[1] == (vouched,)
    assert body.open((x, Y))[1] == (refine(x, type=TensorType(F32, (1, 3))),)
    assert pickle.loads(pickle.dumps(body)) is body


def test_an_attribute_that_speaks_of_a_value_outside_forgets_it() -> None:
    x, y = value("x", N, 3), value("y", None, 3)
    vouched = refine(x, type=TensorType(F32, (dim_of(y, 0), 3)))
    body = Body.close((), (x,), (vouched,))
    assert body.outputs == (refine(bound(0, x.type), type=TensorType(F32, (None, 3))),)
    with pytest.raises(VerifyError, match="outside"):
        Body((x.type,), (refine(bound(0, x.type), type=vouched.type),))
    with pytest.raises(VerifyError, match="axis of a value"):
        Body((vouched.type,), ())


def test_an_attribute_may_speak_of_a_value_computed_inside() -> None:
    x, y = value("x", N, 3), value("y", None, 3)
    both = concat(y, y, axis=0)
    vouched = refine(x, type=TensorType(F32, (dim_of(non_zero(both), 1), 3)))
    body = Body.close((), (x, y), (vouched,))
    inner = concat(*(bound(1, TensorType(F32, (None, 3))),) * 2, axis=0)
    assert body.outputs[0].shape == (dim_of(non_zero(inner), 1), 3)
    assert body.open((x, y))[1] == (vouched,)


def test_a_body_is_the_same_in_a_process_with_other_hashes(tmp_path: Path) -> None:
    x = value("x", N, M)
    body = Body.close((), (x,), (reshape(x, constant([-1], DType.INT64)),))
    file = tmp_path / "body"
    file.write_bytes(pickle.dumps(body))
    code = (
        f"import pickle; body = pickle.load(open({str(file)!r}, 'rb'));"
        "from graphopt.body import Body; from graphopt.dims import symbol;"
        "from graphopt.structural import *; from graphopt.types import *;"
        "from graphopt.ops.shape import reshape;"
        "x = graph_input('x', TensorType(DType.FLOAT32, (symbol('N'), symbol('M'))));"
        "flat = reshape(x, constant([-1], DType.INT64));"
        "assert Body.close((), (x,), (flat,)) is body"
    )
    root = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": str(root)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


@given(st.integers(0, 3), st.integers(1, 3))
def test_result_types_are_the_types_of_the_results(n: int, m: int) -> None:
    """Of arguments whose sizes are known, what is derived outside is what running gives."""
    x, y = value("x", N, None), value("y", None, M)
    rows = concat(x, x, axis=0)
    body = Body.close((), (x, y), (rows, shape(rows), reshape(y, constant([-1], DType.INT64))))
    arguments = value("a", n, m), value("b", m, n)
    arrays = np.zeros((n, m), np.float32), np.zeros((m, n), np.float32)
    for kind, array in zip(body.result_types(arguments), run_body(body, arrays), strict=True):
        assert isinstance(kind, TensorType) and kind.shape is not None
        for size, real in zip(kind.shape, array.shape, strict=True):
            assert not isinstance(size, int) or size == real


def test_a_named_size_of_a_parameter_is_what_the_argument_has() -> None:
    from graphopt.ops.arithmetic import add
    from graphopt.ops.functions import neg
    from graphopt.rewriting.examples import example

    named, fixed = example("float32[N, 3]"), example("float32[1, 3]", "y")
    body = Body.close((named,), (), (add(neg(named), named),))
    assert str(body.result_types((fixed,))[0]) == "float32[1, 3]"
    assert str(body.result_types((named,))[0]) == "float32[N, 3]"
    other = example("float32[M, 3]", "z")
    assert str(body.result_types((other,))[0]) == "float32[M, 3]"
