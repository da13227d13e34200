"""Graphs: the one order, uses, history, and how tables survive."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest

from graphopt.dims import dim_of
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.order import dependencies
from graphopt.records import Derivation, Location, ModelInfo, Record, Tables
from graphopt.structural import (
    barrier,
    bound,
    constant,
    graph_input,
    opaque,
    refine,
    results,
    state,
)
from graphopt.types import DType, TensorType
from tests.strategies import F32, assign, draw_from, join, neg, pair, read

X = graph_input("x", F32)
V = state("v", "variable")


def graph_of(*outputs: Node, effects: tuple[Node, ...] = (), tables: Tables | None = None) -> Graph:
    """A graph of X with outputs y0, y1, …"""
    names = tuple(f"y{k}" for k in range(len(outputs)))
    return Graph((X,), outputs, names, effects=effects, tables=tables or Tables())


def record(ordinal: int, name: str = "") -> tuple[Record, ...]:
    """The record of a node at a place of the source."""
    return (Record(ordinal, "Neg", (), (), name=name),)


def ordered(graph: Graph, *nodes: Node) -> bool:
    """Whether the nodes stand in this order in the graph's."""
    places = [graph.nodes.index(node) for node in nodes]
    return places == sorted(places)


# Canonical order


def test_order_of_the_source_is_kept() -> None:
    a, b, c = (barrier(X, k=k) for k in range(3))
    root = join(c, b, a)
    for order in ([a, b, c], [b, a, c], [c, a, b]):
        tables = Tables(records={node: record(k) for k, node in enumerate(order)})
        assert ordered(graph_of(root, tables=tables), *order, root)


def test_of_several_places_in_the_source_the_first_counts() -> None:
    a, b = barrier(X, k=0), barrier(X, k=1)
    tables = Tables(records={a: (*record(5), *record(1)), b: record(3)})
    assert ordered(graph_of(join(b, a), tables=tables), a, b)


def test_derived_node_stands_where_the_old_one_stood() -> None:
    old, new, other = barrier(X, k=0), barrier(X, k=1), barrier(X, k=2)
    between = neg(old)
    records = {old: record(1), other: record(2)}
    made = {between: Derivation("one", (old,)), new: Derivation("two", (between,))}
    for outputs in ((other, new), (new, other)):
        tables = Tables(records=records, derivations=made)
        assert ordered(graph_of(*outputs, tables=tables), new, other)


def test_inputs_stand_before_users_whatever_the_source_says() -> None:
    a = neg(X)
    tables = Tables(records={a: record(7), join(a): record(1)})
    assert ordered(graph_of(join(a), tables=tables), X, a, join(a))


def test_readers_stand_before_the_node_that_ends_the_version() -> None:
    after = assign(V, X)
    before = read(V)
    late = read(after)
    graph = graph_of(late, before, effects=(after,))
    assert ordered(graph, before, after, late)
    tables = Tables(records={after: record(1), before: record(2)})
    assert ordered(replace(graph, tables=tables), before, after, late)
    assert before in dependencies(graph.roots)[after]


def test_effects_keep_their_serial_order() -> None:
    first, x = results(draw_from(state("g", "random")))
    second, y = results(draw_from(first))
    graph = graph_of(y, x, effects=(second,))
    assert ordered(graph, first.inputs[0], first, second.inputs[0], y)


def test_node_that_reads_and_ends_a_version_is_no_cycle() -> None:
    after = assign(V, join(read(V)))
    assert ordered(graph_of(effects=(after,)), read(V), after)


def test_order_that_cannot_be_is_refused() -> None:
    after = assign(V, X)
    late = join(read(after), V)  # takes the old version, but what it ends comes first
    with pytest.raises(ValueError, match="cycle"):
        _ = graph_of(late, effects=(after,)).nodes


def test_order_does_not_depend_on_what_was_built_first() -> None:
    b = barrier(X, k=11)
    a = barrier(X, k=10)
    assert ordered(graph_of(join(a, b)), a, b) and ordered(graph_of(join(b, a)), b, a)


# Views


def test_uses() -> None:
    a = neg(X)
    first, _ = results(pair(a, X))
    graph = graph_of(join(a, a, first))
    assert graph.uses[a] == ((pair(a, X), 0), (join(a, a, first), 0), (join(a, a, first), 1))
    assert graph.uses[X] == ((a, 0), (pair(a, X), 1))
    assert graph.uses[join(a, a, first)] == ()


def test_number_of_operations() -> None:
    assert len(graph_of(join(neg(X), constant(1.0), None))) == 2


def test_with_outputs() -> None:
    graph = graph_of(neg(X), effects=(assign(V, X),))
    assert graph.with_outputs(graph.roots) is graph
    other = graph.with_outputs((X, V), {X: Derivation("involution", (neg(X),))})
    assert other.outputs == (X,) and other.effects == (V,) and graph.tables.derivations == {}
    assert other.tables.derivations[X].rule == "involution"


def test_untouched_while_the_roots_are_those_loaded() -> None:
    graph = graph_of(neg(X), tables=Tables(origin=(neg(X),)))
    assert graph.untouched and not graph.with_outputs((X,)).untouched
    assert not graph_of(X).untouched


def test_history_tells_rules_then_names() -> None:
    one, two, three = (barrier(X, k=k) for k in range(3))
    tables = Tables(
        records={one: record(0, "first"), two: record(1)},
        derivations={three: Derivation("fuse", (one, two, one))},
    )
    graph = graph_of(three, tables=tables)
    assert graph.history(three) == ["fuse", "first", "Neg"]
    assert graph.history(one) == ["first"] and graph.history(X) == []


def test_history_of_what_was_derived_in_a_circle_ends() -> None:
    made = {X: Derivation("there", (neg(X),)), neg(X): Derivation("back", (X,))}
    assert graph_of(X, tables=Tables(derivations=made)).history(X) == ["there", "back"]


def test_networkx() -> None:
    drawn = graph_of(join(neg(X), X, X)).to_networkx()
    assert drawn.number_of_nodes() == 3 and drawn.number_of_edges() == 4
    assert drawn.nodes[X] == {"op": "Input", "type": "float32[2]", "label": "%x"}
    assert [data["position"] for data in drawn.get_edge_data(X, join(neg(X), X, X)).values()] == [
        1,
        2,
    ]


def test_shown_as_text_and_drawing() -> None:
    graph = graph_of(neg(X))
    shown = graph._repr_mimebundle_()  # pyright: ignore[reportPrivateUsage]
    assert "Neg(%x)" in repr(graph) and set(shown) == {"text/plain", "image/svg+xml", "text/html"}


# Pickling


def test_pickled_graph_has_its_tables() -> None:
    old, new = barrier(X, k=0), barrier(X, k=1)
    tables = Tables(
        ModelInfo(opsets=(("", 18),)),
        {X: "a", old: "gone"},
        {old: record(0, "n")},
        {new: Location("f.py", 3)},
        {new: Derivation("rule", (old,))},
        (old,),
    )
    default = constant([1.0, 2.0]).constant
    assert default is not None
    graph = Graph((X,), (new,), ("y",), "g", (V,), {X: default}, tables)
    again = pickle.loads(pickle.dumps(graph))
    assert (again.inputs, again.outputs, again.effects) == (
        graph.inputs,
        graph.outputs,
        graph.effects,
    )
    assert (again.output_names, again.name) == (("y",), "g")
    assert again.tables == tables and again.defaults == {X: default}


def test_pickled_graph_keeps_sizes_of_values_that_it_does_not_compute() -> None:
    open_type = TensorType(DType.FLOAT32, (None,))
    other = opaque("", "Odd", (X,), origin=0, types=(open_type,), attrs={})
    sized = refine(graph_input("y", open_type), type=TensorType(DType.FLOAT32, (dim_of(other, 0),)))
    graph = Graph((X, sized.inputs[0]), (sized,), ("y",))
    assert pickle.loads(pickle.dumps(graph)).outputs[0] is sized


def test_parameters_pickle_with_their_index() -> None:
    assert pickle.loads(pickle.dumps(bound(2, F32))) is bound(2, F32)
