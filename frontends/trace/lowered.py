"""A function traced for some arguments, ahead of its calls: optimize it, compile it, look at it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from graphopt.api import LayoutName, MathName, optimize
from graphopt.api import compile as compile_graph
from graphopt.errors import UsageError
from graphopt.frontends.trace.arguments import Leaf, Parameters, as_array, describe
from graphopt.frontends.trace.calls import MISS, entry_code
from graphopt.frontends.trace.run import Traced
from graphopt.frontends.trace.tree import Tree
from graphopt.graph import Graph

if TYPE_CHECKING:
    from graphopt.pipeline import Pass


@dataclass(frozen=True, eq=False)
class Lowered:
    """A traced function. `optimize` gives the next, `compile` what can be called."""

    traced: Traced
    parameters: Parameters
    leaves: tuple[Leaf, ...]
    tree: Tree

    @property
    def graph(self) -> Graph:
        """The graph; inputs that are arrays from outside have what they hold now as default."""
        return self.traced.graph_with_defaults()

    def optimize(
        self, pipeline: str | Sequence[Pass] = "O2", *, math: MathName = "default"
    ) -> Lowered:
        """The function with its graph optimized. Raises as `graphopt.optimize` does."""
        graph = optimize(self.traced.graph, pipeline, math=math)
        return replace(self, traced=self.traced.with_graph(graph))

    def compile(
        self,
        backend: str = "numpy",
        *,
        threads: int | None = None,
        layout: LayoutName = "auto",
    ) -> Compiled:
        """The function compiled. Raises as `graphopt.compile` does."""
        executable = compile_graph(self.traced.graph, backend, threads=threads, layout=layout)
        entry = entry_code(self.traced, executable, self.traced.graph.outputs, self.leaves)
        return Compiled(self, entry)


class Compiled:
    """A function compiled for some arguments; call it as the function.

    Raises UsageError for arguments of another form, and where something else than arrays that the
    function read from outside has changed since.
    """

    def __init__(self, lowered: Lowered, entry: Callable[..., Any]) -> None:
        self.lowered = lowered
        self._entry = entry

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        lowered = self.lowered
        items, tree, names = lowered.parameters.flatten(lowered.parameters.bind(args, kwargs))
        if tree != lowered.tree:
            raise UsageError(
                "the arguments have another form than those it was made for",
                at=names[0] if names else "",
            )
        for item, leaf in zip(items, lowered.leaves, strict=True):
            static = lowered.parameters.is_static(leaf.path)
            if leaf.kind in ("value", "object", "number"):
                found = describe(item, leaf.path, static, leaf.kind == "value")
                if found.key != leaf.key:
                    raise UsageError("another value than the one it was made for", at=leaf.path)
        passed = [
            as_array(item)
            for item, leaf in zip(items, lowered.leaves, strict=True)
            if leaf.kind not in ("value", "object")
        ]
        made = self._entry(*passed)
        if made is MISS:
            raise UsageError(
                "what the function reads from outside has changed since it was lowered"
            )
        return made
