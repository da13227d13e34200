"""The table of ops: the literal list of its families."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module

from graphopt.op import Op

FAMILIES = (
    "graphopt.structural",
    "graphopt.ops.activation",
    "graphopt.ops.arithmetic",
    "graphopt.ops.cast",
    "graphopt.ops.cumulative",
    "graphopt.ops.functions",
    "graphopt.ops.logic",
    "graphopt.ops.quantize",
    "graphopt.ops.reduction",
    "graphopt.ops.control",
    "graphopt.ops.fused",
    "graphopt.ops.loops",
    "graphopt.ops.generate",
    "graphopt.ops.indexing",
    "graphopt.ops.movement",
    "graphopt.ops.padding",
    "graphopt.ops.selection",
    "graphopt.ops.shape",
    "graphopt.ops.slicing",
    "graphopt.ops.attention",
    "graphopt.ops.linear_attention",
    "graphopt.ops.losses",
    "graphopt.ops.normalization",
    "graphopt.ops.norms",
    "graphopt.ops.rnn",
    "graphopt.ops.rotary",
    "graphopt.ops.signal",
    "graphopt.ops.signal_windows",
    "graphopt.ops.softmax",
    "graphopt.ops.linalg",
    "graphopt.ops.conv",
    "graphopt.ops.channels_last",
    "graphopt.ops.channels_last_norms",
    "graphopt.ops.conv_transpose",
    "graphopt.ops.deform",
    "graphopt.ops.integer",
    "graphopt.ops.qlinear",
    "graphopt.ops.pool",
    "graphopt.ops.pool_global",
    "graphopt.ops.roi",
    "graphopt.ops.resize",
    "graphopt.ops.sampling",
    "graphopt.ops.mathematics",
    "graphopt.ops.complexes",
    "graphopt.ops.division",
    "graphopt.ops.factorizations",
    "graphopt.ops.search",
)


@cache
def table() -> Mapping[tuple[str, str], Op]:
    """Every op by (domain, name). Raises ValueError when two families declare one op."""
    found: dict[tuple[str, str], Op] = {}
    for family in FAMILIES:
        for op in vars(import_module(family)).values():
            if isinstance(op, Op) and found.setdefault(op.key, op) is not op:
                raise ValueError(f"{op!r} is declared twice")
    return found
