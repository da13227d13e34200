"""Simplify: every cheap rule that only removes or shortens, in one sweep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphopt.graph import Graph
from graphopt.passes.affine import AFFINE
from graphopt.passes.algebra import ALGEBRA
from graphopt.passes.control import CONTROL
from graphopt.passes.reshape import RESHAPES
from graphopt.passes.shapes import SHAPES
from graphopt.pipeline import Context, Pass

__all__ = ["AFFINE", "SIMPLIFICATIONS", "FoldAffine", "Simplify"]

SIMPLIFICATIONS = CONTROL + SHAPES + RESHAPES + ALGEBRA


@dataclass(frozen=True)
class Simplify(Pass):
    """Apply the rules of algebra, shapes and decided control flow.

    Given:   %1 = Transpose(%x) {perm = [1, 0]}; %2 = Transpose(%1) {perm = [1, 0]}; return %2
    Result:  return %x
    """

    name: ClassVar[str] = "simplify"

    def run(self, graph: Graph, context: Context) -> Graph:
        return context.rewrite(graph, SIMPLIFICATIONS)


@dataclass(frozen=True)
class FoldAffine(Pass):
    """Fold batch normalizations, products and sums per channel into the weights before them.

    Given:   %1 = Conv(%x, %w); %2 = BatchNormalization(%1, %s, %b, %m, %v)
    Result:  %2 = Conv(%x, %w2, %b2)
    """

    name: ClassVar[str] = "affine"

    def run(self, graph: Graph, context: Context) -> Graph:
        return context.rewrite(graph, AFFINE)
