"""Channels first or last: the layout of the images of a graph, by what it costs where it is run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from graphopt.errors import PipelineError, nearest
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.ops.channels_last import TO_LAST
from graphopt.passes.layout.cost import TARGETS, Target, transpose_seconds, work_seconds
from graphopt.passes.layout.forms import has_channels_first, relaid, works
from graphopt.passes.movement.permuted import Perm
from graphopt.passes.movement.row_major import ROW_MAJORS, STILL_TRANSPOSES
from graphopt.passes.movement.shapes import transposes as compositions
from graphopt.passes.movement.transposes import moved
from graphopt.passes.movement.two_layouts import Layouts
from graphopt.pipeline import Context, ScopePass
from graphopt.rewriting.rule import Math

PICO = 1e12
GAIN = 0.03
"""What must be saved at least, as a share of what is counted: transposes and what differs."""
TIDYING = compositions + STILL_TRANSPOSES + ROW_MAJORS


@dataclass(frozen=True)
class Layout(ScopePass):
    """Give images the layout, channels first or last, in which the target should be faster.

    Given:   %1 = Conv(%x, %w); %2 = Relu(%1); %3 = MaxPool(%2) {kernel_shape = [2, 2]}
    Result:  %1 = Transpose(%x); %2 = ConvLast(%1, %w); %3 = Relu(%2); %4 = MaxPoolLast(%3) …
    """

    target: str = "numpy"
    name: ClassVar[str] = "layout"

    def scope(self, graph: Graph, context: Context) -> Graph:
        found = TARGETS.get(self.target)
        if found is None:
            hint = nearest(self.target, list(TARGETS))
            raise PipelineError(f"no target is called {self.target!r}{hint}", at=self.name)
        if context.math is Math.STRICT:
            return graph  # sums over channels and taps are added up in another order
        images = Images(graph, TO_LAST, target=found)
        chosen = images.chosen(context.tick)
        if chosen is None:
            return graph
        made = moved(images, chosen, context)
        if made is graph:
            return graph
        return context.rewrite(made, TIDYING)


@dataclass
class Images(Layouts):
    """Layout A has channels first, layout B channels last; costs are those of a target."""

    rule: ClassVar[str] = "layout.move"
    target: Target = field(default_factory=lambda: TARGETS["numpy"])
    _work: dict[Node, tuple[int, int]] = field(default_factory=dict[Node, tuple[int, int]])

    def seconds(self) -> float:
        """What the graph should take as it stands, as far as that depends on layouts."""
        self.chosen(lambda: None)
        return self._bill(self._wanted(), {})[0] / PICO

    def pays(self, now: tuple[int, int], then: tuple[int, int]) -> bool:
        """Whether what is saved is more than the model of costs may err."""
        return then[0] < (1 - GAIN) * now[0]

    def flows(self, node: Node) -> tuple[int, ...] | None:
        """The input by which an image is taken, of what has a form in either layout."""
        return (0,) if works(node) else super().flows(node)

    def permuted(self, node: Node, perm: Perm, inputs: Sequence[Node]) -> Node:
        """A node in the other layout."""
        return relaid(node, perm, inputs) if works(node) else super().permuted(node, perm, inputs)

    def seeds(self) -> Iterator[tuple[Node, bool]]:
        """Ops that are bound to a layout have it, and transposes lead from one to the other."""
        for node in self.free:
            first = has_channels_first(node)
            if first is not None:
                yield node, first
        yield from super().seeds()

    def cost(self, value: Node) -> int:
        """What a transpose of an image should take."""
        return round(PICO * transpose_seconds(self.target, value, self.frame[self.key(value)]))

    def work(self, node: Node) -> tuple[int, int]:
        """What a node should take with channels first and last."""
        found = self._work.get(node)
        if found is None:
            first, last = work_seconds(self.target, node, self.frame[node])
            found = self._work[node] = round(PICO * first), round(PICO * last)
        return found
