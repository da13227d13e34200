"""Long graphs: nothing recurses over their depth, and work grows with their length."""

from __future__ import annotations

import gc
import pickle
import sys
from collections.abc import Callable, Iterator

import pytest

from graphopt import optimize
from graphopt.draw import to_html, to_svg
from graphopt.graph import Graph
from graphopt.ir import Node, rebuild, table_size
from graphopt.order import dependencies
from graphopt.records import Derivation, Record, Tables
from graphopt.structural import barrier, graph_input
from graphopt.text import parse_graph, print_graph
from graphopt.verify import verify
from tests.strategies import F32
from tests.work import steps
from tools import bench_scale

LENGTH = 100_000


def chain(length: int, name: str = "x") -> Graph:
    """A chain of nodes."""
    first = node = graph_input(name, F32)
    for k in range(length):
        node = barrier(node, k=k % 2)
    return Graph((first,), (node,), ("y",))


@pytest.fixture(scope="module")
def long() -> Iterator[Graph]:
    """The chain that several tests look at."""
    yield chain(LENGTH)
    gc.collect()


def test_build_again_and_destroy() -> None:
    gc.collect()
    before = table_size()
    graph = chain(LENGTH, "destroyed")
    assert table_size() == before + LENGTH + 1
    assert chain(LENGTH, "destroyed").outputs == graph.outputs
    del graph
    gc.collect()
    assert table_size() == before


def test_print_and_parse(long: Graph) -> None:
    text = print_graph(long)
    assert len(text.splitlines()) == LENGTH + 5
    assert parse_graph(text).outputs == long.outputs


def test_print_cut_short_and_draw_collapsed(long: Graph) -> None:
    assert f"… {LENGTH - 40} more nodes" in repr(long)
    assert "too many to draw" in to_svg(long) and "too many to list" in to_html(long)


def test_verify_order_and_uses(long: Graph) -> None:
    verify(long)
    assert len(long.nodes) == LENGTH + 1 and len(dependencies(long.roots)) == LENGTH + 1
    assert len(long.uses[long.inputs[0]]) == 1


def test_pickle(long: Graph) -> None:
    assert pickle.loads(pickle.dumps(long)).outputs == long.outputs


def test_rebuild(long: Graph) -> None:
    y = graph_input("y", F32)
    (made,) = rebuild(long.outputs, {long.inputs[0]: y}.get)
    assert made is not long.outputs[0]
    assert rebuild(long.outputs, lambda node: None) == long.outputs


def test_history_of_many_derivations() -> None:
    nodes = [graph_input("x", F32)]
    for k in range(LENGTH):
        nodes.append(barrier(nodes[0], k=k))
    made = {nodes[k]: Derivation("r", (nodes[k - 1],)) for k in range(1, LENGTH)}
    records = {nodes[0]: (Record(3, "Neg", (), ()),)}
    graph = Graph(
        (nodes[0],), (nodes[-2],), ("y",), tables=Tables(records=records, derivations=made)
    )
    assert len(graph.history(nodes[-2])) == LENGTH
    assert graph.nodes[-1] is nodes[-2]


WORK: dict[str, Callable[[Graph], object]] = {
    "print": print_graph,
    "parse": lambda graph: parse_graph(print_graph(graph)),
    "verify": lambda graph: [verify(graph)],  # type: ignore[func-returns-value]
    "order": lambda graph: Graph(graph.inputs, graph.outputs, graph.output_names).nodes,
    "uses": lambda graph: Graph(graph.inputs, graph.outputs, graph.output_names).uses,
    "pickle": lambda graph: pickle.loads(pickle.dumps(graph)),
    "rebuild": lambda graph: rebuild(graph.outputs, lambda node: None),
    "svg": to_svg,
}


@pytest.mark.parametrize("name", WORK)
def test_twice_the_length_is_twice_the_work(name: str) -> None:
    def counted(length: int) -> int:
        graph = chain(length)
        return steps(lambda: WORK[name](graph))

    counted(10)  # imports and caches
    assert counted(4000) < 2.5 * counted(2000)


@pytest.mark.parametrize("level", ["O1", "O2", "O3"])
@pytest.mark.parametrize("name", ["muls", "adds", "transposes", "matmuls", "fan"])
def test_twice_the_length_is_twice_the_work_to_optimize(name: str, level: str) -> None:
    def counted(length: int) -> int:
        graph = bench_scale.GRAPHS[name](length)
        return steps(lambda: optimize(graph, level, strict=True))

    counted(20)
    assert counted(600) < 2.4 * counted(300)


def test_ten_times_a_graph_of_everything_is_ten_times_the_work() -> None:
    def counted(length: int) -> int:
        graph = bench_scale.mixed(length)
        return steps(lambda: optimize(graph, "O2", strict=True))

    counted(100)
    assert counted(1500) < 12.5 * counted(150)


@pytest.mark.parametrize("name", ["adds", "transposes", "matmuls"])
def test_nothing_recurses_over_the_depth_of_a_graph(name: str) -> None:
    graph = bench_scale.GRAPHS[name](2 * sys.getrecursionlimit())
    assert len(optimize(graph, "O3", strict=True)) < len(graph)


def wide(width: int) -> Graph:
    """Many nodes that one other takes, each with several users."""
    x = graph_input("x", F32)
    layer: list[Node] = [barrier(x, k=k) for k in range(width)]
    for _ in range(3):
        layer = [barrier(node, k=k) for k, node in enumerate(layer)]
    return Graph((x,), tuple(layer), tuple(f"y{k}" for k in range(width)))


def test_twice_the_width_is_twice_the_work() -> None:
    def counted(width: int) -> int:
        graph = wide(width)
        return steps(lambda: parse_graph(print_graph(graph)))

    counted(10)
    assert counted(1000) < 2.5 * counted(500)
