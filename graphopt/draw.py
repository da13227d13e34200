"""Draw a graph without any program but this: a static SVG, and a page of HTML around it.

Nodes are put into layers by their longest path from an input, ordered within a layer by the mean
place of their neighbours, and coloured by the family of their op. Nothing runs in the reader: no
script, and colours follow the light or dark theme.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from graphopt.graph import Graph, operations
from graphopt.ir import Node
from graphopt.svg import FADED, LINE, PLAIN, Colour, colour_of, cut, svg, table, text
from graphopt.types import TensorType, TupleType

MAX_NODES = 400
_SWEEPS = 4
_WIDTH, _HEIGHT, _GAP_X, _GAP_Y = 150, 38, 18, 34


@dataclass(frozen=True)
class _Box:
    """What one box shows: a node that is not constant, or an output of the graph."""

    title: str
    detail: str
    tip: str
    colour: Colour


def to_svg(graph: Graph, *, max_nodes: int = MAX_NODES) -> str:
    """The graph as SVG; with more than `max_nodes` boxes, only how often each op occurs."""
    nodes = [node for node in graph.nodes if node.op.name not in ("Constant", "Out", "Absent")]
    if len(nodes) + len(graph.outputs) > max_nodes:
        return _summary(graph, len(nodes))
    names = graph.tables.names
    boxes = [_node_box(node, names.get(node, "")) for node in nodes]
    place: dict[Node, int] = {node: k for k, node in enumerate(nodes)}
    edges = [
        (place[source], k)
        for k, node in enumerate(nodes)
        for source in dict.fromkeys(map(_maker, node.inputs))
        if source in place
    ]
    for name, node in zip(graph.output_names, graph.outputs, strict=True):
        if _maker(node) in place:
            edges.append((place[_maker(node)], len(boxes)))
        boxes.append(
            _Box(
                name,
                str(node.derived_type),
                f"output {name} : {node.derived_type}",
                colour_of("Input"),
            )
        )
    return _drawn(boxes, edges)


def to_html(graph: Graph, *, max_nodes: int = MAX_NODES) -> str:
    """The drawing with tables to unfold: ops by number, inputs and outputs, nodes."""
    ports = [
        ("input", name, node) for name, node in zip(graph.input_names, graph.inputs, strict=True)
    ]
    ports += [
        ("output", name, node) for name, node in zip(graph.output_names, graph.outputs, strict=True)
    ]
    shown = [node for node in graph.nodes if node.op.name not in ("Out", "Absent")]
    parts = [
        f"<p><b>{text(graph.name)}</b>: {len(graph)} operations</p>",
        to_svg(graph, max_nodes=max_nodes),
        table("Operations", ("op", "number"), _counts(graph)),
        table(
            "Inputs and outputs",
            ("", "name", "type"),
            [(kind, name, str(node.derived_type)) for kind, name, node in ports],
        ),
    ]
    if len(shown) <= max_nodes:
        rows = [
            (repr(node.op), graph.tables.names.get(node, ""), str(node.derived_type))
            for node in shown
        ]
        parts.append(table("Nodes", ("op", "name", "type"), rows))
    else:
        parts.append(f"<p>{len(shown)} nodes: too many to list</p>")
    return f'<div class="graphopt">{"".join(parts)}</div>'


def _maker(node: Node) -> Node:
    """The node that computes a value."""
    return node.inputs[0] if node.op.name == "Out" else node


def _node_box(node: Node, name: str) -> _Box:
    kind = node.derived_type
    title = node.op.name
    if title in ("Input", "State"):
        title = str(node.attrs["name"])
    detail = (
        f"{len(kind.elements)} outputs" if isinstance(kind, TupleType) else str(node.derived_type)
    )
    attrs = "".join(f"\n{key} = {value!r}" for key, value in sorted(node.attrs.items()))
    extra = "".join(
        f"\ninput {k}: {item.derived_type}"
        for k, item in enumerate(node.inputs)
        if isinstance(item.derived_type, TensorType)
    )
    tip = f"{node.op!r} {name}\n{node.derived_type}{attrs}{extra}"
    return _Box(title, detail, tip, colour_of(node.op.name, node.op.domain))


def _layers(count: int, edges: Iterable[tuple[int, int]]) -> list[list[int]]:
    """The boxes by their longest path from a source; edges lead to later boxes."""
    sources: list[list[int]] = [[] for _ in range(count)]
    for source, target in edges:
        sources[target].append(source)
    depth = [0] * count
    layers: list[list[int]] = []
    for box in range(count):
        depth[box] = max((depth[source] + 1 for source in sources[box]), default=0)
        while len(layers) <= depth[box]:
            layers.append([])
        layers[depth[box]].append(box)
    return layers


def _ordered(layers: list[list[int]], edges: Sequence[tuple[int, int]]) -> list[list[int]]:
    """The layers with their boxes near those that they are joined to."""
    joined: dict[int, list[int]] = {}
    for source, target in edges:
        joined.setdefault(source, []).append(target)
        joined.setdefault(target, []).append(source)
    middle = {box: k - len(layer) / 2 for layer in layers for k, box in enumerate(layer)}

    def mean(box: int) -> float:
        near = joined.get(box, [box])
        return sum(middle[other] for other in near) / len(near)

    for sweep in range(_SWEEPS):
        for k in range(len(layers)) if sweep % 2 == 0 else reversed(range(len(layers))):
            layers[k] = sorted(layers[k], key=lambda box: (mean(box), box))
            middle.update({box: j - len(layers[k]) / 2 for j, box in enumerate(layers[k])})
    return layers


def _drawn(boxes: Sequence[_Box], edges: Sequence[tuple[int, int]]) -> str:
    layers = _ordered(_layers(len(boxes), edges), edges)
    width = max(map(len, layers), default=1) * (_WIDTH + _GAP_X) + _GAP_X
    centre: dict[int, tuple[float, int]] = {}
    for level, layer in enumerate(layers):
        left = (width - len(layer) * (_WIDTH + _GAP_X)) / 2 + (_WIDTH + _GAP_X) / 2
        for k, box in enumerate(layer):
            centre[box] = (left + k * (_WIDTH + _GAP_X), level * (_HEIGHT + _GAP_Y) + 12)
    lines = [_edge(centre[source], centre[target]) for source, target in edges]
    lines += [_rectangle(box, *centre[k]) for k, box in enumerate(boxes)]
    return svg(width, len(layers) * (_HEIGHT + _GAP_Y) + 12, lines)


def _edge(source: tuple[float, int], target: tuple[float, int]) -> str:
    (x1, top), (x2, y2) = source, target
    y1 = top + _HEIGHT
    bend = (y1 + y2) / 2
    bow = _WIDTH * 0.8 if x1 == x2 and y2 - y1 > 2 * _GAP_Y else 0  # around what lies between
    curve = f"M{x1:g} {y1}C{x1 + bow:g} {bend:g} {x2 + bow:g} {bend:g} {x2:g} {y2}"
    return f'<path fill="none" stroke="{LINE}" d="{curve}"/>'


def _rectangle(box: _Box, x: float, y: int) -> str:
    left, (fill, rim) = x - _WIDTH / 2, box.colour
    return (
        f"<g><title>{text(box.tip)}</title>"
        f'<rect x="{left:g}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="5"'
        f' fill="{fill}" stroke="{rim}"/>'
        f'<text x="{x:g}" y="{y + 16}">{text(cut(box.title))}</text>'
        f'<text x="{x:g}" y="{y + 30}" font-size="10" fill="{FADED}">'
        f"{text(cut(box.detail))}</text></g>"
    )


def _summary(graph: Graph, count: int) -> str:
    """What is drawn of a graph that is too large: how often each op occurs."""
    boxes = [
        _Box(op, f"× {number}", f"{op}: {number}", PLAIN) for op, number in _counts(graph)[:12]
    ]
    note = f"{count} nodes are too many to draw; the most frequent ops:"
    lines = [f'<text x="{_WIDTH * 1.5:g}" y="16" fill="{LINE}">{text(note)}</text>']
    for k, box in enumerate(boxes):
        x = _WIDTH / 2 + 10 + k % 3 * (_WIDTH + _GAP_X)
        lines.append(_rectangle(box, x, 30 + k // 3 * (_HEIGHT + 10)))
    return svg(3 * (_WIDTH + _GAP_X) + 20, 40 + -(-len(boxes) // 3) * (_HEIGHT + 10), lines)


def _counts(graph: Graph) -> list[tuple[str, str]]:
    found = Counter(repr(node.op) for node in operations(graph.nodes))
    return [(name, str(number)) for name, number in found.most_common()]
