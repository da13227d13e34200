"""The catalogue beside others is whole, names what exists, and every row is shown by a test."""

from __future__ import annotations

import pytest

from tests.passes import (
    test_extras,
    test_grappler_arithmetic,
    test_grappler_folding,
    test_grappler_fusion,
    test_grappler_structure,
)
from tests.passes.judge import rewritten
from tools.catalogue import cells, lines, passes_of, rules_of, unknown
from tools.catalogue_extras import EXTRAS
from tools.catalogue_rows import TABLES, Row

FOLDING = """MaterializeShapes MaterializeConstantValuedNode MaterializeOutputValues
MaterializeBroadcastGradientArgs MaterializeReductionIndices FoldGraph RemoveSplitOrSplitV
RemoveShuffleOrTranspose RemoveRandomShuffle RemoveReverse SimplifySlice SimplifyStridedSlice
SimplifyTile SimplifyPad SimplifySqueeze SimplifyPack MoveConstantsPastEnter SimplifySwitch
SimplifyReduction SimplifyReshape SimplifyArithmeticOperations ReduceDivToReciprocalMul
ConstantPushDown MulConvPushDown PartialConstPropThroughIdentityN PartialAssocOpConstFolding
MergeConcat PartialConcatConstFolding ConstantPushDownBiasAdd SimplifyCase SimplifySelect
RemoveRedundantVariableUpdates"""
FUSION = """FindContractionWithBias FindContractionWithBiasAndActivation FindConvWithSqueezeAndBias
FindConv2DWithBatchNorm FindFusedBatchNorm FindFusedBatchNormEx FindFusedBatchNormGradEx
FindTensorToHashBucket FindContractionWithBiasAddAndAdd FindPadWithConv3D
FindFusedConvWithFusedActivation FindConv2DSwish FindSoftplusAndTanhAndMul FindHardSwish
FindMatMulBiasAddAndGelu FindMatMulBiasMulAddElu FindMulAndMaximum FindFusedBatchMatMul
FindMklLayerNorm FindInstanceNorm"""
LAYOUT = "Choice Algorithm Sensitive Agnostic Extras Skips WeakSpots"
STRUCTURE = """CSE.merge Dependency.transitive Dependency.const Dependency.convert Dependency.bypass
Dependency.group Pruner.dce Pruner.split_identity_n Pruner.trivial Shape.prod Shape.ratio
DebugStripper Function.inline Function.lower Function.specialise Function.library Loop.licm
Loop.stack Loop.dead_branch Loop.zero_trip Memory.relax Memory.recompute Memory.schedule_addn
Memory.swap AMP PinToHost ScopedAllocator ImplementationSelector AutoParallel TFG TfData Inference
Custom"""
KEYS = [
    *(f"1.1.{number}" for number in range(1, 33)),
    *(f"1.2.{name}" for name in FOLDING.split()),
    *(f"1.3.{name}" for name in FUSION.split()),
    *(f"1.4.{name}" for name in LAYOUT.split()),
    *(f"1.5.{name}" for name in STRUCTURE.split()),
]
ROWS = [row for rows in TABLES.values() for row in rows]
OTHERS = [row for rows in EXTRAS.values() for row in rows]
TESTED = [
    row
    for module in (
        test_grappler_arithmetic,
        test_grappler_folding,
        test_grappler_fusion,
        test_grappler_structure,
    )
    for row in module.ROWS
]
BY_HAND = {
    "1.2.MoveConstantsPastEnter",
    "1.5.Dependency.convert",
    "1.5.Pruner.split_identity_n",
    "1.5.Function.specialise",
    "1.5.Function.library",
    "1.5.Loop.stack",
    "1.5.TFG",
    "1.4.Skips",
    "1.4.WeakSpots",
    "1.5.AMP",
    "1.5.DebugStripper",
}
"""Rows with tests that are no row of a table."""


def test_every_rewrite_is_here_once() -> None:
    assert [row.key for row in ROWS] == KEYS


@pytest.mark.parametrize("row", ROWS + OTHERS, ids=lambda row: row.key)
def test_a_row_names_what_exists_or_says_why_not(row: Row) -> None:
    assert unknown(row) == []
    assert row.by or row.why
    assert len(cells(row)) == 5


@pytest.mark.parametrize("row", [row for row in ROWS if row.by], ids=lambda row: row.key)
def test_a_row_is_shown_before_and_after(row: Row) -> None:
    assert row.key in {item.key for item in TESTED} | BY_HAND


def test_no_test_is_of_a_row_that_does_not_exist() -> None:
    assert {row.key for row in TESTED} | BY_HAND <= set(KEYS)


def test_a_rewrite_of_others_is_listed_once_and_tested_under_its_key() -> None:
    keys = [row.key for row in OTHERS]
    assert len(set(keys)) == len(keys)
    assert {row.key for row in test_extras.ROWS} <= {row.key for row in OTHERS if row.by}


@pytest.mark.parametrize("row", [row for row in OTHERS if row.by], ids=lambda row: row.key)
def test_what_it_names_is_shown(row: Row) -> None:
    """By a graph before and after, or by the examples of the rules and passes themselves."""
    if row.key in {item.key for item in test_extras.ROWS}:
        return
    found = rules_of(row)
    assert found or passes_of(row)
    for rule in found:
        assert rule.fires is not None
        assert rewritten(rule, (rule.fires(),))[1]


def test_it_is_printed() -> None:
    wanted = ("| 1.", *(f"| {row.key} " for row in OTHERS))
    printed = [line for line in lines() if line.startswith(wanted)]
    assert len(printed) == len(KEYS) + len(OTHERS)
    assert all(line.count(" | ") == 4 for line in printed)
