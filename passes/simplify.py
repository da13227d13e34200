"""Simplify: every cheap rule that only removes, shortens or narrows, in one sweep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphopt.graph import Graph
from graphopt.passes.algebra.booleans import BOOLEANS
from graphopt.passes.algebra.clips import CLIPS
from graphopt.passes.algebra.compared import COMPARED_VALUES
from graphopt.passes.algebra.comparisons import COMPARISONS
from graphopt.passes.algebra.extremes import EXTREMES
from graphopt.passes.algebra.factors import FACTORS
from graphopt.passes.algebra.functions import FUNCTIONS
from graphopt.passes.algebra.identities import ALGEBRA
from graphopt.passes.algebra.integers import INTEGERS
from graphopt.passes.algebra.monotone import MONOTONE
from graphopt.passes.algebra.nary import NARY
from graphopt.passes.algebra.nothing import CONSTANTS_LAST, NOTHING
from graphopt.passes.algebra.powers import POWERS
from graphopt.passes.algebra.products import PRODUCTS
from graphopt.passes.algebra.push_down import PUSH_DOWN
from graphopt.passes.algebra.residues import RESIDUES
from graphopt.passes.algebra.signs import SIGNS
from graphopt.passes.algebra.sums import SUMS
from graphopt.passes.branches.control import CONTROL
from graphopt.passes.branches.loops import LOOPS
from graphopt.passes.branches.selected import SELECTED
from graphopt.passes.contractions.affine import AFFINE
from graphopt.passes.contractions.affine_moves import AFFINE_MOVES
from graphopt.passes.contractions.association import ASSOCIATION
from graphopt.passes.contractions.composed import COMPOSED
from graphopt.passes.contractions.convs import CONVS
from graphopt.passes.contractions.einsums import EINSUMS
from graphopt.passes.contractions.expectations import EXPECTATIONS
from graphopt.passes.contractions.gemms import GEMMS
from graphopt.passes.contractions.low_rank import LOW_RANK
from graphopt.passes.contractions.picked import PICKED
from graphopt.passes.contractions.product_inputs import PRODUCT_INPUTS
from graphopt.passes.contractions.quantized import QUANTIZED
from graphopt.passes.contractions.quantized_moves import QUANTIZED_MOVES
from graphopt.passes.contractions.recurrent import RECURRENT
from graphopt.passes.contractions.reduced_products import REDUCED_PRODUCTS
from graphopt.passes.contractions.scales import SCALES
from graphopt.passes.contractions.tables import TABLES
from graphopt.passes.contractions.windows import WINDOWS
from graphopt.passes.fusion.gates import GATES
from graphopt.passes.movement.blocks import BLOCKS
from graphopt.passes.movement.casts import CASTS
from graphopt.passes.movement.concats import CONCATS
from graphopt.passes.movement.expands import EXPANDS
from graphopt.passes.movement.gathers import GATHERS
from graphopt.passes.movement.gathers_nd import GATHERS_ND
from graphopt.passes.movement.indices import INDICES
from graphopt.passes.movement.iotas import IOTAS
from graphopt.passes.movement.means import MEANS
from graphopt.passes.movement.moved import MOVED
from graphopt.passes.movement.pads import PADS
from graphopt.passes.movement.reduced_parts import REDUCED_PARTS
from graphopt.passes.movement.reductions import REDUCTIONS
from graphopt.passes.movement.repeated import REPEATED
from graphopt.passes.movement.reshape import RESHAPES
from graphopt.passes.movement.row_major import ROW_MAJORS
from graphopt.passes.movement.scatters import SCATTERS
from graphopt.passes.movement.shapes import SHAPES
from graphopt.passes.movement.sizes import SIZES
from graphopt.passes.movement.slices import SLICES
from graphopt.passes.movement.spread import SPREAD
from graphopt.passes.movement.upsampled import UPSAMPLED
from graphopt.pipeline import Context, Pass

BRANCHES = CONTROL + LOOPS + SELECTED
MOVEMENT = (
    SHAPES + RESHAPES + ROW_MAJORS + SLICES + CONCATS + GATHERS + GATHERS_ND + PADS + EXPANDS
    + CASTS + REDUCTIONS + REPEATED + INDICES + MOVED + SIZES + BLOCKS + NOTHING + CONSTANTS_LAST
    + REDUCED_PARTS + SCATTERS + UPSAMPLED
)  # fmt: skip
ARITHMETIC = (
    ALGEBRA + SIGNS + EXTREMES + CLIPS + BOOLEANS + COMPARISONS + INTEGERS + POWERS + FUNCTIONS
    + PRODUCTS + SUMS + PUSH_DOWN + FACTORS + MONOTONE + COMPARED_VALUES
    + RESIDUES
)  # fmt: skip
QUANTIZATION = QUANTIZED + QUANTIZED_MOVES
EXPORTED = RECURRENT + TABLES + SPREAD + IOTAS + MEANS
SIMPLIFICATIONS = BRANCHES + GATES + MOVEMENT + ARITHMETIC + QUANTIZATION + EINSUMS + EXPORTED
CONTRACTIONS = (
    AFFINE + AFFINE_MOVES + SCALES + PRODUCT_INPUTS + GEMMS + CONVS + WINDOWS + ASSOCIATION
    + EXPECTATIONS + COMPOSED + REDUCED_PRODUCTS + PICKED + LOW_RANK
)  # fmt: skip


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
