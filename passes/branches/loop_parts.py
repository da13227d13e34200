"""What a Loop or Scan is made of, for the passes that take one apart."""

from __future__ import annotations

from dataclasses import dataclass

from graphopt.body import Body
from graphopt.dims import Size
from graphopt.ir import Node
from graphopt.op import Ints
from graphopt.ops.loops import CARRIED, along, loop, scanned_types, trip_count
from graphopt.types import Type


@dataclass(frozen=True)
class Parts:
    """What a Loop or Scan is made of: its body, and its inputs by what they are for.

    `heads` are the number of iterations and the condition of a Loop. The body's parameters from
    `first` on and its outputs from `skipped` on are what is carried.
    """

    node: Node
    body: Body
    heads: tuple[Node | None, ...]
    carried: tuple[Node, ...]
    scanned: tuple[Node, ...]
    captured: tuple[Node, ...]

    @property
    def first(self) -> int:
        """The first parameter of the body that is carried."""
        return CARRIED if self.node.op is loop else 0

    @property
    def skipped(self) -> int:
        """The first output of the body that is carried."""
        return 1 if self.node.op is loop else 0

    @property
    def shown(self) -> range:
        """The outputs of the body that are stacked."""
        return range(self.skipped + len(self.carried), len(self.body.outputs))

    @property
    def own(self) -> int:
        """How many parameters of the body are not captured."""
        return len(self.body.params) - self.body.captures

    @property
    def axes(self) -> Ints:
        """The axes along which a Scan scans, and none of a Loop."""
        return along(self.node.attrs.get("scan_input_axes"), len(self.scanned))

    @property
    def count(self) -> Size | None:
        """How often the body runs, None where that is not known beforehand."""
        if self.node.op is loop:
            trips, cond = self.heads
            return trip_count(trips, cond, self.body)
        kinds: list[Type] = [item.type for item in self.scanned]
        return scanned_types(kinds, self.axes)[0]

    def never_changes(self, k: int) -> bool:
        """Whether value k that is carried is handed on as it is, or as what it was at first."""
        made = self.body.outputs[self.skipped + k]
        if made.op.name != "Bound":
            return made.constant is not None and made is self.carried[k]
        index: int = made.attrs["index"]
        same = index >= self.own and self.captured[index - self.own] is self.carried[k]
        return index == self.first + k or same


def parts_of(node: Node) -> Parts:
    """What a Loop or Scan is made of."""
    body: Body = node.attrs["body"]
    first = CARRIED if node.op is loop else 0
    heads = [None if item.is_absent else item for item in node.inputs[:first]]
    heads += [None] * (first - len(heads))
    values = node.inputs[first:]
    own = len(values) - body.captures
    count = own - node.attrs.get("num_scan_inputs", 0)
    return Parts(node, body, tuple(heads), values[:count], values[count:own], values[own:])
