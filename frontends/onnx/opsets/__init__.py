"""Nodes of older and newer opsets: into the opset whose meaning the graph's ops have, and back.

`upgrade` takes a node of a model at opset 1 to 28 to its form at opset `graphopt.op.OPSET`; `lower`
takes a node in that form to an older opset, 7 at least. Both walk a literal table of steps
(`tables`, and `early` up to 7), one for every version of an op that changed more than its dtypes
and its documentation; the versions that did not are listed in `unchanged`.
"""

from __future__ import annotations

from functools import cache

from graphopt.frontends.onnx.call import Call
from graphopt.frontends.onnx.opsets.steps import CannotLower, Inexpressible, Upgrade, Upgraded
from graphopt.frontends.onnx.opsets.tables import LOWERINGS, UPGRADES
from graphopt.frontends.onnx.opsets.valid import check
from graphopt.op import OPSET

__all__ = ["CannotLower", "first_opset", "lower", "upgrade"]


def upgrade(call: Call, version: int) -> Upgraded:
    """`call` of opset `version` with the meaning of `OPSET`: a call, or the values of new nodes.

    Values come one an output. Raises UnsupportedError when the newest opset has no form for it, and
    TypeRuleError when the call is invalid.
    """
    due = _due(call, version)
    if due is None:
        return call
    check(call, version)
    while due is not None:
        version, step = due
        made = step(call)
        if isinstance(made, tuple):
            return made
        call, due = made, _due(made, version)
    return call


def _due(call: Call, version: int) -> tuple[int, Upgrade] | None:
    """The next step of an operator after an opset."""
    steps = () if call.domain else UPGRADES.get(call.op_type, ())
    return next((row for row in steps if row[0] > version), None)


def lower(call: Call, version: int) -> Call:
    """`call` of opset `OPSET` as opset `version` writes it; its inputs may be new constants.

    Raises CannotLower with the lowest opset that has a form for it.
    """
    if call.domain:
        return call
    ceiling = 1 << 30
    while True:
        steps = LOWERINGS.get(call.op_type, ())
        due = next((row for row in steps if version < row[0] < ceiling), None)
        if due is None:
            break
        ceiling, step = due
        try:
            call = step(call)
        except Inexpressible as error:
            raise CannotLower(ceiling, f"{call.op_type}: {error}") from None
    first = first_opset(call.op_type)
    if first > version:
        raise CannotLower(first, f"{call.op_type} came with opset {first}")
    return call


@cache
def first_opset(op_type: str) -> int:
    """The opset that brought an operator of ai.onnx; 0 for a name that it does not have."""
    from onnx import defs

    return next((opset for opset in range(1, OPSET + 1) if defs.has(op_type, opset)), 0)
