"""Simplify: every cheap rule that only removes, shortens or narrows, in one sweep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphopt.graph import Graph
from graphopt.passes.affine import AFFINE
from graphopt.passes.affine_moves import AFFINE_MOVES
from graphopt.passes.algebra import ALGEBRA
from graphopt.passes.association import ASSOCIATION
from graphopt.passes.booleans import BOOLEANS
from graphopt.passes.casts import CASTS
from graphopt.passes.clips import CLIPS
from graphopt.passes.comparisons import COMPARISONS
from graphopt.passes.concats import CONCATS
from graphopt.passes.control import CONTROL
from graphopt.passes.convs import CONVS
from graphopt.passes.einsums import EINSUMS
from graphopt.passes.expands import EXPANDS
from graphopt.passes.expectations import EXPECTATIONS
from graphopt.passes.extremes import EXTREMES
from graphopt.passes.factors import FACTORS
from graphopt.passes.functions import FUNCTIONS
from graphopt.passes.gathers import GATHERS
from graphopt.passes.gathers_nd import GATHERS_ND
from graphopt.passes.gemms import GEMMS
from graphopt.passes.indices import INDICES
from graphopt.passes.integers import INTEGERS
from graphopt.passes.iotas import IOTAS
from graphopt.passes.loops import LOOPS
from graphopt.passes.means import MEANS
from graphopt.passes.monotone import MONOTONE
from graphopt.passes.moved import MOVED
from graphopt.passes.nary import NARY
from graphopt.passes.nothing import CONSTANTS_LAST, NOTHING
from graphopt.passes.pads import PADS
from graphopt.passes.powers import POWERS
from graphopt.passes.products import PRODUCTS
from graphopt.passes.push_down import PUSH_DOWN
from graphopt.passes.quantized import QUANTIZED
from graphopt.passes.recurrent import RECURRENT
from graphopt.passes.reductions import REDUCTIONS
from graphopt.passes.repeated import REPEATED
from graphopt.passes.reshape import RESHAPES
from graphopt.passes.row_major import ROW_MAJORS
from graphopt.passes.scales import SCALES
from graphopt.passes.shapes import SHAPES
from graphopt.passes.signs import SIGNS
from graphopt.passes.sizes import SIZES
from graphopt.passes.slices import SLICES
from graphopt.passes.spread import SPREAD
from graphopt.passes.sums import SUMS
from graphopt.passes.tables import TABLES
from graphopt.passes.windows import WINDOWS
from graphopt.pipeline import Context, Pass

BRANCHES = CONTROL + LOOPS
MOVEMENT = (
    SHAPES + RESHAPES + ROW_MAJORS + SLICES + CONCATS + GATHERS + GATHERS_ND + PADS + EXPANDS
    + CASTS + REDUCTIONS + REPEATED + INDICES + MOVED + SIZES + NOTHING + CONSTANTS_LAST
)  # fmt: skip
ARITHMETIC = (
    ALGEBRA + SIGNS + EXTREMES + CLIPS + BOOLEANS + COMPARISONS + INTEGERS + POWERS + FUNCTIONS
    + PRODUCTS + SUMS + PUSH_DOWN + FACTORS + MONOTONE
)  # fmt: skip
EXPORTED = RECURRENT + TABLES + SPREAD + IOTAS + MEANS
SIMPLIFICATIONS = BRANCHES + MOVEMENT + ARITHMETIC + QUANTIZED + EINSUMS + EXPORTED
CONTRACTIONS = AFFINE + AFFINE_MOVES + SCALES + GEMMS + CONVS + WINDOWS + ASSOCIATION + EXPECTATIONS


@dataclass(frozen=True)
class Simplify(Pass):
    """Apply the rules of algebra, data movement, shapes and decided control flow.

    Given:   %1 = Transpose(%x) {perm = [1, 0]}; %2 = Transpose(%1) {perm = [1, 0]}; return %2
    Result:  return %x
    """

    name: ClassVar[str] = "simplify"

    def run(self, graph: Graph, context: Context) -> Graph:
        return context.rewrite(graph, SIMPLIFICATIONS)


@dataclass(frozen=True)
class FoldAffine(Pass):
    """Fold normalizations, products and sums into the weights of products and convolutions.

    Given:   %1 = Conv(%x, %w); %2 = BatchNormalization(%1, %s, %b, %m, %v)
    Result:  %2 = Conv(%x, %w2, %b2)
    """

    name: ClassVar[str] = "affine"

    def run(self, graph: Graph, context: Context) -> Graph:
        return context.rewrite(graph, CONTRACTIONS)


@dataclass(frozen=True)
class JoinSums(Pass):
    """Make one sum of a chain of sums of the same shape, in the order in which it is added up.

    Given:   %1 = Add(%a, %b); %2 = Add(%1, %c); %3 = Add(%2, %d)
    Result:  %3 = Sum(%a, %b, %c, %d)
    """

    name: ClassVar[str] = "join-sums"

    def run(self, graph: Graph, context: Context) -> Graph:
        return context.rewrite(graph, NARY)
