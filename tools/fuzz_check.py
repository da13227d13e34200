"""Checks of one generated graph: every pipeline and math mode gives what the graph means.

Values are computed once for each node: nodes are interned, so what an optimized graph shares with
the original is not computed again.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

import graphopt
from graphopt import passes
from graphopt.errors import GraphoptError, MissingExtraError, UnsupportedError
from graphopt.fusion import expanded
from graphopt.graph import Graph
from graphopt.ir import walk
from graphopt.passes.saturate import Saturate
from graphopt.pipeline import Pass, UntilStable
from graphopt.rewriting.rule import Soundness
from graphopt.text import parse_graph, print_graph
from tools.fuzz_compare import Noise, beyond, bits_differ, evaluate, is_array, is_finite
from tools.fuzz_rules import wrong_step
from tools.fuzz_values import Sizes, Values, draw_inputs

MATHS = ("fast", "default", "strict")
"""The math modes, those that admit more rules first: what one leaves alone, the next do, too."""
STABLE = ("O2", "O3")
"""The levels that leave what they have made alone."""
COSTLY = ("O3", "saturate")
"""The pipelines that are run in one math mode of a graph where that is asked for."""
LOSSY = ("mixed",)
"""The passes that are run to compute less precisely: only types are compared."""
EXACT_PASSES = ("fold", "prune", "dedup")
"""Passes whose results are the same bits in every math mode."""
Pipelines = Mapping[str, Sequence[Pass]]


def all_pipelines() -> Pipelines:
    """The levels, and every pass alone that keeps what a graph promises."""
    levels = {name: tuple(made) for name, made in passes.PIPELINES.items() if name != "O0"}
    kept = {name: kind for name, kind in passes.PASSES.items() if name not in passes.OPT_IN}
    return levels | {name: (kind(),) for name, kind in kept.items()}


def without_saturation(pipelines: Pipelines) -> Pipelines:
    """Pipelines that do without the pass that takes more time than all the others together."""
    made = {name: unsaturated(pipeline) for name, pipeline in pipelines.items()}
    return {name: pipeline for name, pipeline in made.items() if pipeline}


def unsaturated(pipeline: Sequence[Pass]) -> tuple[Pass, ...]:
    """The passes but for saturation, within fixpoints, too."""
    return tuple(
        replace(item, passes=unsaturated(item.passes)) if isinstance(item, UntilStable) else item
        for item in pipeline
        if item.name != Saturate.name
    )


def rule_classes() -> Mapping[str, Soundness]:
    """The soundness classes of the rules."""
    return {rule.key: rule.soundness for rule in passes.RULES}


@dataclass(frozen=True)
class Plan:
    """What is checked: pipelines by name, math modes, the rules' classes, and what else.

    `payloads` says whether NaNs are told apart by sign and payload: kernels give them by the place
    in an array, so even exact rules change them. `others` says whether all checks are made that
    are not about results: the same again, text, the numpy backend; `jax` and `onnx`, whether the
    graph is run there, too. `turn` is the number of the one math mode in which what costs most is
    done, COSTLY pipelines and second runs, so that many graphs see all of them; None: every mode.
    """

    pipelines: Pipelines = field(default_factory=all_pipelines)
    maths: Sequence[str] = MATHS
    classes: Mapping[str, Soundness] = field(default_factory=rule_classes)
    others: bool = True
    payloads: bool = False
    jax: bool = False
    onnx: bool = False
    turn: int | None = None

    def in_turn(self, math: str) -> bool:
        """Whether what costs most is done in a math mode."""
        return self.turn is None or self.maths[self.turn % len(self.maths)] == math


@dataclass(frozen=True)
class Case:
    """A graph and arrays for its inputs; in trials, more of them in other moods."""

    graph: Graph
    trials: Sequence[Trial]


@dataclass
class Trial:
    """Values of a graph for one draw of its inputs."""

    mood: str
    values: Values
    inputs: Values


@dataclass(frozen=True)
class Finding:
    """Something wrong: what kind, told in words, where, by which rules, and for which inputs."""

    kind: str
    text: str
    pipeline: str = ""
    math: str = ""
    rules: Mapping[str, int] = field(default_factory=dict[str, int])
    trial: int = -1

    @property
    def key(self) -> tuple[str, str, str]:
        """What a smaller graph must have in common for being the same finding."""
        return self.kind, self.pipeline, self.math


def applied(graph: Graph) -> Mapping[str, int]:
    """How often each rule was applied to make an optimized graph."""
    assert graph.report is not None
    return graph.report.rules


def make_case(graph: Graph, inputs: Values, sizes: Sizes, seed: int) -> Case:
    """A case of three or four trials, those that the original runs."""
    rng = np.random.default_rng(seed)
    shown = ("tame", "strange" if seed % 2 else "extreme", "positive")
    other = {name: int(rng.integers(0, 5)) for name in sizes}
    draws = [("tame", inputs)]
    for mood in shown:
        how = other if mood == "tame" else sizes
        draws.append((mood, draw_inputs(graph, how, rng, mood)))
    return Case(graph, valid_trials(graph, draws))


def valid_trials(graph: Graph, draws: Sequence[tuple[str, Values]]) -> list[Trial]:
    """The draws on which a graph runs."""
    found: list[Trial] = []
    for mood, inputs in draws:
        values = dict(inputs)
        try:
            evaluate(values, graph.outputs)
        except (GraphoptError, MemoryError):
            continue
        found.append(Trial(mood, values, inputs))
    return found


class Checker:
    """The checks of one case."""

    def __init__(self, case: Case, plan: Plan) -> None:
        self.case, self.plan = case, plan
        self.graph = case.graph
        self.noises: dict[int, Noise] = {}
        self.judged: set[tuple[Any, ...]] = set()
        self.fired: Counter[str] = Counter()
        self.lossy = False  # whether the last pipeline may give other values
        self.idle = False  # whether the last pipeline found nothing to do

    def findings(self) -> Iterator[Finding]:
        """What is wrong, in the order in which it is found."""
        if not self.case.trials:
            return
        for name, pipeline in self.plan.pipelines.items():
            for math in self.plan.maths:
                if name in COSTLY and not self.plan.in_turn(math):
                    continue
                self.idle = False
                yield from self.optimized(name, pipeline, math)
                if self.idle and name not in STABLE:
                    break

    def optimized(self, name: str, pipeline: Sequence[Pass], math: Any) -> Iterator[Finding]:
        """Check one pipeline in one math mode."""
        try:
            made = graphopt.optimize(self.graph, pipeline, math=math, strict=True)
        except Exception as error:  # whatever it is, it is a bug
            notes = "; ".join(getattr(error, "__notes__", ()))
            yield Finding("crash", f"{type(error).__name__}: {error} ({notes})", name, math)
            return
        fired = applied(made)
        self.fired.update(fired)
        self.idle = made.roots == self.graph.roots and not fired
        worst = max(map(self.class_of, fired), default=Soundness.EXACT)
        self.lossy = name in LOSSY
        found = self.judge(made, worst, math) or self.judge_steps(made, math)
        if found is not None:
            yield replace(found, pipeline=name, math=math, rules=fired)
        elif self.plan.others:
            yield from self.other(made, name, pipeline, math)

    def class_of(self, rule: str) -> Soundness:
        """The class of a rule; a pass that is no rule may round where the mode admits that."""
        exact = rule.split(".")[0] in EXACT_PASSES
        return self.plan.classes.get(rule, Soundness.EXACT if exact else Soundness.ROUNDING)

    def judge(self, made: Graph, worst: int, math: str) -> Finding | None:
        """Compare the outputs of an optimized graph with the original's."""
        exact = math == "strict" or (worst < Soundness.ROUNDING and math != "fast")
        exact = exact and not self.lossy
        key = (made.outputs, exact, self.lossy or math == "fast")
        if made.outputs == self.graph.outputs or key in self.judged:
            return None
        self.judged.add(key)
        for number, trial in enumerate(self.case.trials):
            try:
                values = evaluate(trial.values, made.outputs)
            except GraphoptError as error:
                return Finding("fails", f"the result fails: {error}", trial=number)
            for k, new in enumerate(values):
                old = trial.values[self.graph.outputs[k]]
                wrong = bits_differ(old, new)
                if not wrong or self.is_fine(wrong):
                    continue
                kind = "payload" if wrong == "payload" else "bits"
                if not exact:
                    kind, wrong = "value", self.excused(number, k, old, new, math)
                if wrong:
                    return Finding(kind, f"output {k}: {wrong} ({trial.mood})", trial=number)
        return None

    def judge_steps(self, made: Graph, math: str) -> Finding | None:
        """Hold every application of a rule to the rule's class."""
        for new, step in made.tables.derivations.items():
            key = (new, step.rule, step.olds)
            soundness = self.plan.classes.get(step.rule)
            if soundness is None or key in self.judged or len(step.olds) != 1:
                continue  # what a pass makes may be a part that means nothing alone
            self.judged.add(key)
            if soundness is Soundness.VALUE and math == "fast":
                continue  # nobody has proven that its difference is not seen
            for number, trial in enumerate(self.case.trials):
                if trial.mood == "extreme" and soundness >= Soundness.ROUNDING:
                    continue
                wrong = wrong_step(step.olds[0], new, soundness, trial.values)
                if wrong and not self.is_fine(wrong):
                    text = f"{step.rule} makes {wrong} ({trial.mood})"
                    return Finding("step", text, trial=number)
        return None

    def is_fine(self, wrong: str) -> bool:
        """Whether only NaNs differ among themselves, and that does not count."""
        return wrong == "payload" and not self.plan.payloads

    def is_tame(self, trial: Trial) -> bool:
        """Whether fast rules are held to values, too: nothing in the original overflows."""
        if trial.mood != "positive":
            return False
        return all(is_finite(trial.values[node]) for node in walk(self.graph.outputs))

    def excused(self, number: int, k: int, old: Any, new: Any, math: str) -> str:
        """What is wrong beyond what rounding may do; "" if nothing."""
        trial = self.case.trials[number]
        fast = math == "fast" and not self.is_tame(trial)
        if fast or self.lossy or trial.mood == "extreme":
            return _sized(old, new)
        noise = self.noises.get(number)
        if noise is None:
            noise = self.noises[number] = Noise(self.graph.outputs, trial.inputs)
        values = [trial.values[n] for n in walk(self.graph.outputs) if n.constant is None]
        large = any(map(beyond, values))
        if all(map(is_finite, trial.inputs.values())):
            large |= not all(map(is_finite, values))  # something overflows
        return noise.explains(k, old, new, loose=math == "fast", large=large)

    def other(
        self, made: Graph, name: str, pipeline: Sequence[Pass], math: Any
    ) -> Iterator[Finding]:
        """Checks beside the results of the reference."""
        if name in STABLE and made.roots != self.graph.roots and self.plan.in_turn(math):
            again = graphopt.optimize(made, pipeline, math=math, strict=True)
            if again.roots != made.roots:
                yield Finding("unstable", "a second run changes more", name, math, applied(again))
        if name != "O2" or math != "default":
            return
        text = print_graph(made)
        if print_graph(parse_graph(text)) != text:
            yield Finding("text", "the text parses to another graph", name, math)
        yield from self.on_backend("numpy", made, name, math)
        if self.plan.jax:
            yield from self.on_backend("jax", made, name, math)
        if self.plan.onnx:
            yield from self.as_onnx(made, name, math)

    def on_backend(self, backend: str, made: Graph, name: str, math: str) -> Iterator[Finding]:
        """Another backend agrees with the reference."""
        trial = self.case.trials[0]
        feeds = {node.attrs["name"]: trial.inputs[node] for node in made.inputs}
        try:
            values = graphopt.compile(made, backend)(**feeds)
        except (UnsupportedError, MissingExtraError):
            return
        except GraphoptError as error:
            if backend == "jax":
                return  # it says what it cannot do
            yield Finding(backend, f"fails: {error}", name, math, trial=0)
            return
        noise = Noise(expanded(made).outputs, trial.inputs, coarse=True)
        for k, result in enumerate(values):
            old, new = trial.values[made.outputs[k]], np.asarray(result)
            loose = backend == "jax"
            wrong = bits_differ(old, new) and noise.explains(k, old, new, loose=loose)
            if wrong:
                yield Finding(backend, f"output {k}: {wrong}", name, math, trial=0)
                return

    def as_onnx(self, made: Graph, name: str, math: str) -> Iterator[Finding]:
        """An ONNX file of the graph computes the same."""
        file = io.BytesIO()
        try:
            graphopt.save(made, file)
        except UnsupportedError:
            return
        loaded = graphopt.load(file.getvalue())
        trial = self.case.trials[0]
        names = {node.attrs["name"]: value for node, value in trial.inputs.items()}
        values: Values = {node: names[node.attrs["name"]] for node in loaded.inputs}
        try:
            results = evaluate(values, loaded.outputs)
        except GraphoptError as error:
            yield Finding("onnx", f"the saved graph fails: {error}", name, math, trial=0)
            return
        noise = Noise(
            expanded(made).outputs, trial.inputs, coarse=True
        )  # some ops are written as several
        for k, new in enumerate(results):
            old = trial.values[made.outputs[k]]
            wrong = bits_differ(old, new) and noise.explains(k, old, new)
            if wrong:
                yield Finding("onnx", f"output {k}, saved: {wrong}", name, math, trial=0)
                return


def _sized(old: Any, new: Any) -> str:
    """The difference in type, if any."""
    if is_array(old) and (old.shape != new.shape or old.dtype != new.dtype):
        return bits_differ(old, new)
    return ""
