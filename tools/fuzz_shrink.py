"""A smaller graph with the same finding: fewer outputs, inner values given from outside."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

from graphopt.body import param_type
from graphopt.errors import GraphoptError
from graphopt.graph import Graph
from graphopt.ir import Node, rebuild, walk
from graphopt.structural import graph_input
from graphopt.types import TensorType
from tools.fuzz_check import Case, Checker, Finding, Plan, valid_trials
from tools.fuzz_values import Values


def narrowed(plan: Plan, finding: Finding) -> Plan:
    """The part of a plan that makes one finding."""
    known = {k: v for k, v in plan.pipelines.items() if k == finding.pipeline} or plan.pipelines
    maths = (finding.math,) if finding.math else plan.maths
    jax, onnx = finding.kind == "jax", finding.kind == "onnx"
    return replace(plan, pipelines=known, maths=maths, jax=jax, onnx=onnx, turn=None)


def reproduced(case: Case, plan: Plan, finding: Finding) -> Finding | None:
    """The finding as a case shows it, None when it does not."""
    try:
        return next((f for f in Checker(case, plan).findings() if f.key == finding.key), None)
    except GraphoptError:
        return None


def shrink(case: Case, plan: Plan, finding: Finding, seconds: float = 20.0) -> tuple[Case, Finding]:
    """A smaller case with the finding, and the finding there."""
    plan, deadline = narrowed(plan, finding), time.monotonic() + seconds
    progress = True
    while progress and time.monotonic() < deadline:
        progress = False
        for smaller in candidates(case):
            found = reproduced(smaller, plan, finding)
            if found is not None:
                case, finding, progress = smaller, found, True
                break
            if time.monotonic() > deadline:
                break
    return case, finding


def candidates(case: Case) -> Iterator[Case]:
    """Smaller cases, those that leave out most first."""
    if len(case.trials) > 1:
        yield from (replace(case, trials=[trial]) for trial in case.trials)
    yield from fewer_outputs(case)
    graph = case.graph
    nodes = [node for node in reversed(graph.nodes) if node.inputs and not node.is_absent]
    for node in nodes:
        if isinstance(node.derived_type, TensorType):
            yield without(case, node)
    for node in nodes:
        for item in node.inputs:
            if item.derived_type == node.derived_type:
                yield rerooted(case, node, item)


def fewer_outputs(case: Case) -> Iterator[Case]:
    """The case with fewer outputs, with an operand of its only one, or without spare inputs."""
    outputs = case.graph.outputs
    if len(outputs) > 1:
        yield from (with_outputs(case, (one,)) for one in outputs)
        for k in range(len(outputs)):
            yield with_outputs(case, outputs[:k] + outputs[k + 1 :])
    for only in outputs if len(outputs) == 1 else ():
        for item in only.inputs:
            if isinstance(item.derived_type, TensorType) and item.op.name != "Input":
                yield with_outputs(case, (item,))
    needed = set(walk(outputs))
    if any(node not in needed for node in case.graph.inputs):
        yield with_outputs(case, outputs)


def with_outputs(case: Case, outputs: tuple[Node, ...]) -> Case:
    """The case with other outputs, and the inputs that they need."""
    needed = set(walk(outputs))
    inputs = tuple(node for node in case.graph.inputs if node in needed)
    names = tuple(f"y{k}" for k in range(len(outputs)))
    graph = replace(case.graph, inputs=inputs, outputs=outputs, output_names=names)
    return rerun(case, graph, {})


def without(case: Case, node: Node) -> Case:
    """The case with a new input in the place of an inner node, which has the node's values."""
    names = {item.attrs["name"] for item in case.graph.inputs}
    name = next(name for k in range(1 << 20) if (name := f"v{k}") not in names)
    return rerooted(case, node, graph_input(name, param_type(node.derived_type)))


def rerooted(case: Case, node: Node, made: Node) -> Case:
    """The case with `made` in the place of `node`; a new input has the node's values."""
    try:
        outputs = rebuild(case.graph.outputs, lambda item: made if item is node else None)
    except GraphoptError:
        return replace(case, trials=[])
    needed = set(walk(outputs))
    inputs = tuple(item for item in case.graph.inputs if item in needed)
    if made in needed and made.op.name == "Input" and made not in inputs:
        inputs += (made,)
    return rerun(case, replace(case.graph, inputs=inputs, outputs=outputs), {made: node})


def rerun(case: Case, graph: Graph, came_from: dict[Node, Node]) -> Case:
    """A smaller graph on the inputs of the case."""
    draws: list[tuple[str, Values]] = []
    for trial in case.trials:
        inputs: Values = {}
        for item in graph.inputs:
            source = item if item in trial.inputs else came_from.get(item, item)
            if source in trial.values:
                inputs[item] = trial.values[source]
        if len(inputs) == len(graph.inputs):
            draws.append((trial.mood, inputs))
    return Case(graph, valid_trials(graph, draws))
