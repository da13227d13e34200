"""The pass manager: order, text, budgets; a pass that fails leaves no trace but a record."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.errors import GraphoptError, PassError, PipelineError
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.pipeline import Budget, Context, Pass, UntilStable, check_signature, run_pipeline
from graphopt.pipeline_text import parse_pipeline, print_pipeline
from graphopt.report import PassRecord
from graphopt.rewriting.rule import Equations, Rule, Value, rules
from graphopt.structural import constant, graph_input
from graphopt.types import DType, TensorType
from tests.toy import add, floats, forget, graph_of, neg, sub

A, B = floats("a", 2), floats("b", 2)


@rules()
def toy(x: Value, y: Value) -> Equations:
    """Toy rules."""
    yield Rule("neg_neg", neg(neg(x)), x)
    yield Rule("sub_neg", sub(x, neg(y)), add(x, y))


@dataclass(frozen=True)
class Simplify(Pass):
    """Apply the toy rules."""

    name: ClassVar[str] = "simplify"

    def run(self, graph: Graph, context: Context) -> Graph:
        return context.rewrite(graph, toy)


@dataclass(frozen=True)
class Peel(Pass):
    """Take one Neg off the first output."""

    name: ClassVar[str] = "peel"

    def run(self, graph: Graph, context: Context) -> Graph:
        output = graph.outputs[0]
        return graph.with_outputs(output.inputs) if output.op is neg else graph


@dataclass(frozen=True)
class Do(Pass):
    """Do what a function does."""

    do: Callable[[Graph, Context], Graph] = field(default=lambda graph, context: graph)
    name: ClassVar[str] = "do"

    def run(self, graph: Graph, context: Context) -> Graph:
        return self.do(graph, context)


@dataclass(frozen=True)
class Options(Pass):
    """A pass with options of all kinds."""

    max_bytes: int = 4096
    deep: bool = False
    ratio: float = 0.5
    mode: str = "fast"
    name: ClassVar[str] = "options"

    def run(self, graph: Graph, context: Context) -> Graph:
        return graph


KNOWN: dict[str, type[Pass]] = {kind.name: kind for kind in (Simplify, Peel, Options)}


def tower(count: int) -> Graph:
    node = A
    for _ in range(count):
        node = neg(node)
    return graph_of(node, inputs=(A, B))


def run(graph: Graph, *passes: Pass, **options: Any) -> Graph:
    return run_pipeline(graph, passes, Context(**options))


def records(graph: Graph) -> tuple[PassRecord, ...]:
    assert graph.report is not None
    return graph.report.passes


def test_passes_run_in_order() -> None:
    made = run(tower(3), Simplify(), Peel())
    assert made.outputs == (A,)
    assert [record.name for record in records(made)] == ["simplify", "peel"]
    assert [record.changed for record in records(made)] == [True, True]
    assert [(record.nodes_before, record.nodes_after) for record in records(made)] == [
        (3, 1),
        (1, 0),
    ]
    assert records(made)[0].rules == {"toy.neg_neg": 1}


def test_fixpoint_runs_until_nothing_changes() -> None:
    made = run(tower(3), UntilStable((Peel(),)))
    assert made.outputs == (A,)
    assert len(records(made)) == 4


def test_fixpoint_asks_no_pass_twice_about_one_graph() -> None:
    made = run(tower(2), UntilStable((Simplify(), Peel())))
    assert made.outputs == (A,)
    told = [(record.name, record.changed) for record in records(made)]
    assert told == [("simplify", True), ("peel", False), ("simplify", False)]


def test_fixpoint_ends_at_its_bound() -> None:
    made = run(tower(9), UntilStable((Peel(),), max_iter=2))
    assert len(made) == 7


def test_report_sums_up() -> None:
    made = run(graph_of(sub(neg(neg(A)), neg(B)), inputs=(A, B)), Simplify(), Simplify())
    report = made.report
    assert report is not None
    assert report.rules == {"toy.neg_neg": 1, "toy.sub_neg": 1}
    assert report.failures == ()
    assert report.seconds == sum(record.seconds for record in report.passes)
    assert "simplify" in str(report)
    assert "toy.sub_neg 1" in str(report)


# Text.


def options() -> st.SearchStrategy[Pass]:
    return st.builds(
        Options,
        max_bytes=st.integers(0, 1 << 40),
        deep=st.booleans(),
        ratio=st.floats(0, 1e6, allow_nan=False),
        mode=st.from_regex(r"[a-z][a-z0-9_.-]{0,8}", fullmatch=True),
    )


def pipelines() -> st.SearchStrategy[list[Pass]]:
    simple = st.one_of(st.builds(Simplify), st.builds(Peel), options())
    one = st.recursive(
        simple,
        lambda inner: st.builds(
            UntilStable, st.lists(inner, min_size=1, max_size=3).map(tuple), st.integers(1, 99)
        ),
        max_leaves=6,
    )
    return st.lists(one, min_size=1, max_size=4)


@given(pipelines())
def test_text_of_a_pipeline_parses_back(passes: list[Pass]) -> None:
    text = print_pipeline(passes)
    assert parse_pipeline(text, KNOWN) == passes
    spaced = text.replace(",", " , ").replace("{", " { ").replace("=", " = ")
    assert parse_pipeline(spaced, KNOWN) == passes


def test_text_names_only_what_differs_from_the_default() -> None:
    assert Options().text() == "options"
    assert Options(max_bytes=1).text() == "options{max-bytes=1}"
    assert UntilStable((Peel(), Simplify())).text() == "fixpoint(peel,simplify)"
    assert UntilStable((Peel(),), 3).text() == "fixpoint{max-iter=3}(peel)"


@pytest.mark.parametrize(
    ("text", "bytes_"), [("4096", 4096), ("4KB", 4096), ("1MiB", 1 << 20), ("2gb", 2 << 30)]
)
def test_sizes_have_units(text: str, bytes_: int) -> None:
    assert parse_pipeline(f"options{{max-bytes={text}}}", KNOWN) == [Options(max_bytes=bytes_)]


def test_flag_without_a_value_is_true() -> None:
    assert parse_pipeline("options{deep,mode=x}", KNOWN) == [Options(deep=True, mode="x")]


@pytest.mark.parametrize(
    ("text", "message", "under"),
    [
        ("peel,simplfy", "no pass is called 'simplfy' (did you mean 'simplify'?)", "simplfy"),
        ("options{max-byte=1}", "no option 'max-byte' (did you mean 'max-bytes'?)", "max-byte=1"),
        ("options{max-bytes=many}", "'many' is no int", "many"),
        ("options{deep=maybe}", "'maybe' is no bool", "maybe"),
        ("options{max-bytes=1", "',' or '}' is expected here", None),
        ("peel,", "something is missing here", None),
        ("", "something is missing here", None),
        ("peel peel", "'peel' is not expected here", " peel"),
        ("fixpoint", "'(' is expected here", None),
        ("fixpoint(peel", "')' is expected here", None),
        ("peel)", "')' is not expected here", ")"),
    ],
)
def test_caret_stands_under_what_is_wrong(text: str, message: str, under: str | None) -> None:
    with pytest.raises(PipelineError) as caught:
        parse_pipeline(text, KNOWN)
    first, shown, caret = str(caught.value).splitlines()
    assert message in first
    assert shown == f"  {text}"
    place = len(text) if under is None else text.index(under) + len(under) - len(under.lstrip())
    assert caret.index("^") == 2 + place


# Failure.


def planted(graph: Graph, context: Context) -> Graph:
    raise ValueError("planted")


def other_inputs(graph: Graph, context: Context) -> Graph:
    return replace(graph, inputs=(A,))


def other_names(graph: Graph, context: Context) -> Graph:
    return replace(graph, output_names=("z",))


def other_type(graph: Graph, context: Context) -> Graph:
    return graph.with_outputs((constant([1.0, 2.0], DType.FLOAT64),))


def foreign_value(graph: Graph, context: Context) -> Graph:
    return graph.with_outputs((add(A, floats("stranger", 2)),))


def endless(graph: Graph, context: Context) -> Graph:
    while True:
        context.tick()


def greedy(graph: Graph, context: Context) -> Graph:
    hoard: list[bytearray] = []
    for _ in range(3):  # of blocks so large that none is memory which other tests have freed
        hoard.append(bytearray(b"x" * (48 << 20)))
        context.tick()
    return graph


@pytest.mark.parametrize(
    ("do", "message"),
    [
        (planted, "ValueError: planted"),
        (other_inputs, "changed the graph's inputs"),
        (other_names, "names of its outputs"),
        (other_type, "output 'y0' became float64[2], it was float32[2]"),
        (foreign_value, "belongs to another graph"),
        (endless, "out of its time budget of 0.05 s"),
        (greedy, "out of its memory budget"),
    ],
)
def test_pass_that_fails_is_undone_and_the_rest_runs(
    do: Callable[[Graph, Context], Graph], message: str
) -> None:
    budget = Budget(seconds=0.05 if do is endless else 60.0, bytes=16 << 20)
    graph = tower(3)
    made = run(graph, Do(do), Simplify(), budget=budget)
    failed, simplified = records(made)
    assert message in failed.error
    assert not failed.changed
    assert failed.rules == {}
    assert simplified.changed
    assert made.outputs == (neg(A),)
    assert made.report is not None
    assert made.report.failures == (failed,)
    assert "undone" in str(made.report)


def test_rewrites_of_an_undone_pass_are_not_reported() -> None:
    def half(graph: Graph, context: Context) -> Graph:
        context.rewrite(graph, toy)
        raise PassError("too late")

    made = run(tower(2), Do(half))
    assert made.outputs == tower(2).outputs
    assert records(made)[0].rules == {}


def test_strict_raises_with_the_history() -> None:
    with pytest.raises(ValueError, match="planted") as caught:
        run(tower(3), Simplify(), Do(planted), strict=True)
    assert "after: simplify" in caught.value.__notes__[0]


def test_budget_counts_anew_for_each_pass() -> None:
    def nap(graph: Graph, context: Context) -> Graph:
        time.sleep(0.06)
        context.tick()
        return graph

    made = run(tower(1), *[Do(nap)] * 3, budget=Budget(seconds=0.1))
    assert [record.error for record in records(made)] == ["", "", ""]


def test_signature_may_know_more_but_not_less() -> None:
    x = graph_input("x", TensorType(DType.FLOAT32, (None, 2)))
    loose, tight = graph_of(forget(x), inputs=(x,)), graph_of(x, inputs=(x,))
    check_signature(loose, tight)
    fixed = graph_of(neg(A), inputs=(A,))
    check_signature(graph_of(forget(A), inputs=(A,)), fixed)
    with pytest.raises(PassError):
        check_signature(fixed, graph_of(forget(A), inputs=(A,)))


# Switching off, and listening.


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("simplify", sub(neg(neg(A)), neg(B))),
        ("s*", sub(neg(neg(A)), neg(B))),
        ("toy", sub(neg(neg(A)), neg(B))),
        ("toy.*", sub(neg(neg(A)), neg(B))),
        ("toy.neg_neg", add(neg(neg(A)), B)),
        ("toy.sub_?eg", sub(A, neg(B))),
        ("other", add(A, B)),
    ],
)
def test_globs_switch_off_passes_and_rules(glob: str, expected: Node) -> None:
    graph = graph_of(sub(neg(neg(A)), neg(B)), inputs=(A, B))
    assert run(graph, Simplify(), disabled=(glob,)).outputs == (expected,)


class Log:
    """A listener that writes down what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, int]] = []

    def before(self, pass_: Pass, graph: Graph) -> None:
        self.events.append(("before", pass_.name, len(graph)))

    def after(self, pass_: Pass, before: Graph, after: Graph, record: PassRecord) -> None:
        assert (after is not before) == record.changed
        self.events.append(("after", pass_.name, len(after)))


def test_listener_hears_of_every_pass() -> None:
    log = Log()
    run(tower(2), UntilStable((Peel(),)), Do(planted), listeners=[log], disabled=("simplify",))
    assert log.events == [
        ("before", "peel", 2),
        ("after", "peel", 1),
        ("before", "peel", 1),
        ("after", "peel", 0),
        ("before", "peel", 0),
        ("after", "peel", 0),
        ("before", "do", 0),
        ("after", "do", 0),
    ]


def test_error_of_ours_is_told_without_its_kind() -> None:
    def fail(graph: Graph, context: Context) -> Graph:
        raise GraphoptError("no", at="here")

    assert records(run(tower(1), Do(fail)))[0].error == "here: no"
