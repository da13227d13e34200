"""Nodes: interning, what tells two apart, bodies; how they are copied, pickled and forgotten."""

from __future__ import annotations

import copy
import gc
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from graphopt.body import Body
from graphopt.dims import dim_of, symbol
from graphopt.errors import TypeRuleError, VerifyError
from graphopt.ir import Node, attribute_key, rebuild, table_size, unflatten, walk
from graphopt.op import Op
from graphopt.ops.generate import range_
from graphopt.ops.shape import shape
from graphopt.structural import (
    barrier,
    bound,
    constant,
    graph_input,
    opaque,
    out,
    refine,
    results,
    state,
)
from graphopt.tensor import Tensor
from graphopt.text.words import float_of_bits
from graphopt.types import UNKNOWN, DType, TensorType
from tests.strategies import F32, assign, attributes, join, neg, pair

X = graph_input("x", F32)
OPEN = TensorType(DType.FLOAT32, (None, None))


def odd(value: Any, origin: int = 0) -> Node:
    """A node with an attribute."""
    return opaque("", "Odd", (X,), origin=origin, types=(UNKNOWN,), attrs={"a": value})


# Interning


def test_the_same_node_is_built_once() -> None:
    assert neg(X) is neg(X) and neg(neg(X)) is not neg(X)
    assert graph_input("x", F32) is X is not graph_input("y", F32)
    assert join(X, neg(X)) is not join(neg(X), X)


def test_order_of_attributes_does_not_count() -> None:
    one = opaque("", "Odd", (), origin=0, types=(UNKNOWN,), attrs={"a": 1, "b": 2})
    assert opaque("", "Odd", (), origin=0, types=(UNKNOWN,), attrs={"b": 2, "a": 1}) is one


def test_defaults_and_trailing_absent_inputs_are_not_written() -> None:
    assert pair(X, None, axis=0) is pair(X)
    assert join(X, scale=1) is join(X) is not join(X, scale=2)


BITS = [1, True, 1.0, 0, False, 0.0, -0.0, "1", b"1", None, (), (1,), (True,), ((1,),)]
NANS = [float_of_bits(0x7FF8000000000000 + k) for k in (0, 1, 1 << 40)]


def test_attributes_differ_by_kind_and_bits() -> None:
    nodes = [odd(value) for value in [*BITS, *NANS, float_of_bits(0xFFF8 << 48)]]
    assert len(set(nodes)) == len(nodes)
    assert [odd(value) for value in [*BITS, *NANS]] == nodes[:-1]


def test_known_elements_of_types_differ_by_kind() -> None:
    one, true = (TensorType(DType.INT64, (1,), (value,)) for value in (1, True))
    assert odd(one) is not odd(true) and odd((one,)) is not odd((true,))


@given(attributes())
def test_key_of_an_attribute_is_equal_to_itself(value: Any) -> None:
    assert attribute_key(value) == attribute_key(copy.deepcopy(value))
    hash(attribute_key(value))


def test_threads_that_build_the_same_graph_get_the_same_nodes() -> None:
    start = Barrier(8)

    def build(_: int) -> list[Node]:
        start.wait()
        node, made = graph_input("threads", F32), list[Node]()
        for k in range(2000):
            node = neg(barrier(node, k=k))
            made.append(node)
        return made

    with ThreadPoolExecutor(8) as pool:
        first, *others = pool.map(build, range(8))
    assert all(a is b for other in others for a, b in zip(first, other, strict=True))


def test_copies_are_the_node() -> None:
    node = neg(X)
    assert copy.copy(node) is node and copy.deepcopy([node])[0] is node


def test_table_forgets_what_nothing_refers_to() -> None:
    gc.collect()
    before = table_size()
    node = graph_input("forgotten", F32)
    for _ in range(100):
        node = neg(node)
    assert table_size() == before + 101
    del node
    gc.collect()
    assert table_size() == before


# Outputs


def test_index_of_an_output_cannot_be_dropped() -> None:
    both = pair(X)
    with pytest.raises(TypeRuleError, match="input 0 has several outputs"):
        neg(both)
    with pytest.raises(TypeRuleError, match="input 1 has several outputs"):
        opaque("", "Odd", (X, both), origin=0, types=(UNKNOWN,), attrs={})
    first, second = results(both)
    assert out(both, 1) is second is not first and second.dtype is DType.INT64


def test_output_that_is_not_there_is_refused() -> None:
    for node, index in ((pair(X), 2), (pair(X), -1), (X, 0)):
        with pytest.raises(TypeRuleError):
            out(node, index)


def test_opaque_ops_are_merged_by_origin_only() -> None:
    assert odd(1, 0) is not odd(1, 1) and odd(1, 0) is odd(1, 0)


def test_barriers_keep_equal_values_apart() -> None:
    assert barrier(X, k=0) is not barrier(X, k=1)


# Sizes that only running tells


def test_unknown_sizes_are_never_equal() -> None:
    x, y = graph_input("x", OPEN), graph_input("y", OPEN)
    sizes = [*(x.shape or ()), *(y.shape or ()), *(join(x).shape or ()), *(join(y).shape or ())]
    unknown = [size for size in sizes if not isinstance(size, int)]
    assert len(unknown) == 6 and len(set(unknown)) == 6
    assert x.shape == (dim_of(x, 0), dim_of(x, 1))


def test_knowledge_from_outside_is_a_node() -> None:
    x = graph_input("x", OPEN)
    sure = refine(x, type=TensorType(DType.FLOAT32, (2, 3)))
    assert sure is not x and sure.shape == (2, 3) and x.shape == (dim_of(x, 0), dim_of(x, 1))
    with pytest.raises(TypeRuleError, match="cannot be refined"):
        refine(x, type=TensorType(DType.INT8, (2,)))


# Bodies


def test_equal_bodies_are_one_object() -> None:
    def body(name: str) -> Body:
        x = graph_input(name, F32)
        return Body.close([x], [], [neg(x), constant(1.0)])

    one = body("a")
    assert one is body("b") and join(X, body=one) is join(X, body=body("c"))
    x = graph_input("a", F32)
    assert Body.close([], [x], [neg(x), constant(1.0)]) is not one
    assert one.outputs[0].inputs[0] is bound(0, F32)


def test_opened_and_closed_is_the_same_body() -> None:
    x, c = graph_input("x", F32), graph_input("c", OPEN)
    body = Body.close([x], [c], [join(x, c), x])
    arguments, outputs = body.open()
    assert Body.close(arguments[:1], arguments[1:], outputs) is body
    assert body.open([X, neg(X)])[1] == (join(X, neg(X)), X)


@pytest.mark.parametrize("free", [graph_input("free", F32), state("s", "variable"), bound(1, F32)])
def test_escaped_body_is_refused(free: Node) -> None:
    with pytest.raises(VerifyError):
        Body((F32,), (join(bound(0, F32), free),))


def test_parameter_of_another_type_is_refused() -> None:
    with pytest.raises(VerifyError):
        Body((OPEN,), (bound(0, F32),))


def test_parameter_keeps_symbols_and_drops_axes_of_values_outside() -> None:
    n = symbol("N")
    x = refine(graph_input("x", OPEN), type=TensorType(DType.FLOAT32, (n, dim_of(X, 0))))
    assert Body.close([x], [], [x]).params == (TensorType(DType.FLOAT32, (n, None)),)


# Pickling


def sample() -> tuple[Node, ...]:
    """Nodes that the table of ops has, so that any process can make them."""
    x = graph_input("x", TensorType(DType.FLOAT32, (symbol("N"), None)))
    p = graph_input("p", F32)
    body = Body.close([p], [], [barrier(p, k=1), constant([1.0, float("nan")])])
    kinds = (TensorType(DType.FLOAT32, (None,)), UNKNOWN)
    many = opaque("com.x", "Odd", (x,), origin=4, types=kinds, attrs={"b": body, "n": NANS[1]})
    sized = refine(x, type=TensorType(DType.FLOAT32, (dim_of(out(many, 0), 0) * 2, 3)))
    return (*results(many), sized, constant(np.arange(2000)), state("v", "variable"))


def test_pickle_comes_back_as_the_same_nodes() -> None:
    nodes = sample()
    again = pickle.loads(pickle.dumps(nodes))
    assert [a is b for a, b in zip(nodes, again, strict=True)] == [True, True, True, False, True]
    old, new = nodes[3].constant, again[3].constant
    assert old is not None and new is not None and old.digest() == new.digest()


def test_pickle_means_the_same_in_another_process() -> None:
    code = (
        "import pickle, sys; from tests.test_ir import sample;"
        "again = pickle.loads(sys.stdin.buffer.read()); mine = sample();"
        "assert [a is b for a, b in zip(again, mine)] == [True, True, True, False, True]"
    )
    subprocess.run([sys.executable, "-c", code], input=pickle.dumps(sample()), check=True)


def test_unflatten_interns() -> None:
    node = barrier(barrier(X, k=1), k=2)
    assert unflatten(node.__reduce__()[1][0])[-1] is node


# Constants


def test_constants_are_equal_by_bits_up_to_a_kibibyte_and_by_buffer_beyond() -> None:
    small, large = np.zeros(256, np.float32), np.zeros(257, np.float32)
    assert constant(small) is constant(small.copy())
    assert constant(large) is not constant(large.copy())
    tensor = Tensor.of(large)
    assert constant(tensor) is constant(tensor)
    assert constant(0.0) is not constant(-0.0)
    assert constant(NANS[0]) is constant(NANS[0]) is not constant(NANS[1])


def test_splats_stay_compact() -> None:
    made: Callable[[], Tensor] = lambda: Tensor.splat(DType.FLOAT32, (10**9,), 1.0)  # noqa: E731
    node = constant(made())
    assert node is constant(made()) and node.constant is not None and node.constant.is_splat
    assert len(pickle.dumps(node)) < 2000


# Walking


def test_walk_lists_inputs_before_users_from_left_to_right() -> None:
    a, b = neg(X), neg(neg(X))
    assert list(walk([join(b, a)])) == [X, a, b, join(b, a)]


def test_rebuild_replaces_and_keeps_the_rest() -> None:
    y = graph_input("y", F32)
    root = join(neg(X), assign(state("v", "variable"), y))
    assert rebuild([root], lambda node: None)[0] is root
    (made,) = rebuild([root], {X: y}.get)
    assert made is join(neg(y), assign(state("v", "variable"), y))


def test_rebuild_asks_once_for_every_node_before_its_inputs() -> None:
    inner = neg(X)
    asked: list[Node] = []
    rebuild([join(inner, inner), neg(inner)], asked.append)
    assert asked == [join(inner, inner), inner, X, neg(inner)]


def test_a_type_is_derived_anew_only_where_the_inputs_may_tell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    y = graph_input("y", F32)
    wide, other, third = (graph_input(name, OPEN) for name in ("wide", "other", "third"))
    one, two = constant(np.float32(1)), constant(np.float32(2))
    wanted = [
        (neg(X), (y,), 0),
        (neg(X), (wide,), 1),
        (neg(other), (third,), 1),
        (shape(wide), (other,), 1),
        (range_(constant(np.float32(0)), two, one), (constant(np.float32(0)), two, two), 1),
        (join(X, y), (y, X), 0),
        (join(X, y), (y,), 1),
    ]
    derived: list[Op] = []
    infer = Op.infer_type

    def counted(self: Op, *arguments: Any) -> Any:
        derived.append(self)
        return infer(self, *arguments)

    monkeypatch.setattr(Op, "infer_type", counted)
    for node, inputs, times in wanted:
        derived.clear()
        made = node.with_inputs(inputs)
        assert len(derived) == times
        assert made.derived_type == infer(made.op, made.inputs, made.attrs)
