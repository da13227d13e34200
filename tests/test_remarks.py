"""Remarks: what was done, what was refused and why; a log of them can be replayed."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import ClassVar

import pytest

import graphopt
from graphopt.body import Body
from graphopt.errors import UsageError
from graphopt.fingerprint import Fingerprints
from graphopt.graph import Graph
from graphopt.ops.arithmetic import add
from graphopt.ops.control import if_
from graphopt.ops.functions import exp, neg
from graphopt.ops.movement import transpose
from graphopt.ops.selection import non_zero
from graphopt.pipeline import Context, Pass
from graphopt.records import Record, Tables
from graphopt.remarks import lines_of, parse_kinds
from graphopt.rewriting.examples import example, filled
from graphopt.structural import constant

X = example("float32[N]")
MAY_BE_NEGATIVE_ZERO = add(X, filled(0))


def sample() -> Graph:
    """A graph in which one rule applies twice and another is refused once."""
    outputs = (neg(neg(X)), add(neg(neg(exp(X))), X), MAY_BE_NEGATIVE_ZERO)
    record = Record(0, "Neg", ("n",), ("y",), name="the_neg")
    tables = Tables(records={outputs[0]: (record,)})
    return Graph((X,), outputs, ("a", "b", "c"), tables=tables)


def test_no_remarks_unless_asked_for() -> None:
    report = graphopt.optimize(sample(), "simplify").report
    assert report is not None
    assert report.remarks == ()


def test_passed_remarks_name_rule_node_and_source() -> None:
    report = graphopt.optimize(sample(), "simplify", remarks="passed").report
    assert report is not None
    found = [(r.kind, r.rule, r.source, r.step) for r in report.remarks]
    assert found[0] == ("passed", "involutions.neg", "the_neg", 1)
    assert [item[1] for item in found].count("involutions.neg") == 2
    assert {item[0] for item in found} == {"passed"}


def test_missed_remarks_name_the_guard() -> None:
    report = graphopt.optimize(sample(), "simplify", remarks=["missed"]).report
    assert report is not None
    (missed,) = [r for r in report.remarks if r.rule == "neutral.add_zero"]
    assert missed.kind == "missed"
    assert missed.node == f"Add : {MAY_BE_NEGATIVE_ZERO.type}"
    assert missed.reason == "not so: x is never -0.0"


def test_a_rule_of_a_class_that_is_not_admitted_is_missed() -> None:
    graph = Graph((X,), (add(X, filled(0)),), ("y",))
    report = graphopt.optimize(graph, "simplify", remarks="missed").report
    assert report is not None
    (missed,) = [r for r in report.remarks if r.rule == "neutral.add_zero"]
    assert missed.reason == "not so: x is never -0.0"
    report = graphopt.optimize(graph, "simplify", math="strict", remarks="missed").report
    assert report is not None
    assert any("class is value" in r.reason for r in report.remarks)


@dataclass(frozen=True)
class Fails(Pass):
    """A pass that finds something out and fails."""

    name: ClassVar[str] = "fails"

    def run(self, graph: Graph, context: Context) -> Graph:
        assert context.log is not None
        context.log.analysis(self.name, "two outputs are alike", graph, graph.outputs[0])
        raise RuntimeError("on purpose")


def test_failed_and_analysis() -> None:
    report = graphopt.optimize(sample(), [Fails()], remarks="failed,analysis").report
    assert report is not None
    analysis, failed = report.remarks
    assert (analysis.kind, analysis.source) == ("analysis", "the_neg")
    assert (failed.kind, failed.pass_name) == ("failed", "fails")
    assert "on purpose" in failed.reason


def test_a_log_is_replayed_in_whole_and_in_part() -> None:
    whole = graphopt.optimize(sample(), "O2", remarks="passed")
    assert whole.report is not None
    remarks = whole.report.remarks
    again = graphopt.optimize(sample(), "O2", only=list(lines_of(remarks)))
    assert again.outputs == whole.outputs
    part = graphopt.optimize(sample(), "O2", only=remarks[:1])
    assert part.report is not None
    assert sum(part.report.rules.values()) == 1
    assert graphopt.optimize(sample(), "O2", only=()).outputs == sample().outputs


def test_fuel_is_spent_over_the_whole_pipeline() -> None:
    whole = graphopt.optimize(sample(), "O2")
    assert whole.report is not None
    total = sum(whole.report.rules.values())
    assert total >= 2
    for fuel in range(total + 1):
        made = graphopt.optimize(sample(), "O2", fuel=fuel)
        assert made.report is not None
        assert sum(made.report.rules.values()) == fuel


def test_remarks_as_lines() -> None:
    report = graphopt.optimize(sample(), "O2", remarks="passed,missed").report
    assert report is not None
    told = [json.loads(line) for line in lines_of(report.remarks)]
    assert {item["kind"] for item in told} == {"passed", "missed"}
    assert all(item["fingerprint"] for item in told if item["kind"] == "passed")
    assert all(str(remark) for remark in report.remarks)


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="did you mean 'passed'"):
        parse_kinds("pased")


def test_fingerprints_tell_nodes_apart_and_nothing_else() -> None:
    values = [X, example("float32[M]"), add(X, X), neg(X), transpose(example("float32[2, 3]", "t"))]
    values += [filled(0.0), filled(-0.0), constant([1, 2]), constant([1, 2, 3])]
    values += [transpose(example("float32[2, 3]", "t"), perm=(0, 1))]
    first, second = Fingerprints(), Fingerprints()
    made = [first(value) for value in values]
    assert len(set(made)) == len(values)
    assert made == [second(value) for value in reversed(values)][::-1]


ADDRESS = re.compile(r"0x[0-9a-f]{6,}|@[0-9a-f]{4,}")


def test_remarks_have_no_addresses() -> None:
    """Sizes that only running tells are those of an op or of a parameter, in every process."""
    x, p = example("float32[?, 3]"), example("bool[]", "p")
    taken = non_zero(x)
    other = Body.close((), (x,), (exp(x),))
    chosen = if_(p, x, then_branch=Body.close((), (x,), (neg(neg(x)),)), else_branch=other)
    graph = Graph((x, p), (add(neg(neg(taken)), taken), chosen), ("a", "b"))
    report = graphopt.optimize(graph, "O2", remarks="passed,missed").report
    assert report is not None
    told = "\n".join(lines_of(report.remarks))
    assert "dim(NonZero, 1)" in told and "dim(Bound:0, 0)" in told
    assert ADDRESS.findall(told) == []
