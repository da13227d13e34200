"""Drawings: well-formed, static, escaped, and never larger than asked."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from hypothesis import given, settings

from graphopt.draw import to_html, to_svg
from graphopt.graph import Graph
from graphopt.structural import graph_input, results
from tests.strategies import F32, graphs, join, neg, pair

X = graph_input("x", F32)
SVG = "{http://www.w3.org/2000/svg}"
EVIL = '<script>alert("1")</script>&'


def boxes(svg: str) -> list[str]:
    """The titles of the boxes of a drawing."""
    return [box.findtext(f"{SVG}text", "") for box in ET.fromstring(svg).iter(f"{SVG}g")]


def test_boxes_and_edges() -> None:
    first, second = results(pair(neg(X)))
    svg = to_svg(Graph((X,), (join(first, second, neg(X)),), ("out",)))
    assert boxes(svg) == ["x", "Neg", "Pair", "Join", "out"]
    # x-Neg, Neg-Pair, Pair-Join once for both outputs, Neg-Join, Join-out
    assert svg.count("<path") == 5


def test_each_node_is_below_its_inputs_and_none_is_on_another() -> None:
    a, b = neg(X), neg(neg(X))
    svg = ET.fromstring(to_svg(Graph((X,), (join(a, b), join(b, a)), ("y", "z"))))
    places = [(float(r.get("x", "")), float(r.get("y", ""))) for r in svg.iter(f"{SVG}rect")]
    assert len(set(places)) == len(places) == 7
    heights = [y for _, y in places]
    assert heights[:3] == sorted(set(heights[:3])) and heights[3] == heights[4] > heights[2]
    assert all(0 <= x < float(svg.get("width", "")) for x, _ in places)


@settings(max_examples=30)
@given(graphs())
def test_every_graph_is_drawn_well_formed(graph: Graph) -> None:
    ET.fromstring(to_svg(graph))
    ET.fromstring(to_html(graph))
    ET.fromstring(to_svg(graph, max_nodes=0))


def test_names_are_escaped_and_nothing_runs() -> None:
    x = graph_input(EVIL, F32)
    for page in (
        to_svg(Graph((x,), (neg(x),), (EVIL,), EVIL)),
        to_html(Graph((x,), (neg(x),), (EVIL,), EVIL)),
    ):
        assert "<script" not in page and "&lt;script&gt;" in page
        ET.fromstring(page)


def test_too_large_graph_is_counted() -> None:
    node = X
    for _ in range(20):
        node = neg(node)
    svg = to_svg(Graph((X,), (node,), ("y",)), max_nodes=10)
    assert "21 nodes are too many to draw" in svg and boxes(svg) == ["test::Neg"]


def test_drawing_is_the_same_each_time_and_needs_no_style_sheet() -> None:
    graph = Graph((X,), (join(neg(X), X),), ("y",))
    assert to_svg(graph) == to_svg(graph)
    assert "style" not in to_svg(graph), "what shows notebooks elsewhere strips style sheets"
    assert "@" not in to_svg(graph), "no name depends on where an object lies in memory"


def test_tables() -> None:
    page = to_html(Graph((X,), (join(neg(X), X),), ("y",), "title"))
    assert page.count("<details>") == 3 and "title" in page and "test::Join" in page
