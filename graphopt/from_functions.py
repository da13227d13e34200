"""`graphopt.rewrite`: a rule and the pass that applies it, out of two plain functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from typing import Any, ClassVar

from graphopt.errors import RewriteError
from graphopt.graph import Graph
from graphopt.pipeline import Context, Pass
from graphopt.rewriting.pattern import KINDS, Apply, Var
from graphopt.rewriting.rule import Function, Guard, Rule, RuleSet, Soundness


@dataclass(frozen=True)
class Rewrite(Pass):
    """Apply one rule."""

    rule: Rule
    name: ClassVar[str] = "rewrite"

    def run(self, graph: Graph, context: Context) -> Graph:
        return context.rewrite(graph, RuleSet((self.rule,)))

    def text(self) -> str:
        return f"{self.name}{{{self.rule.key}}}"


def rewrite(
    pattern: Function[Any],
    replacement: Function[Any],
    *,
    when: Function[bool] | None = None,
    soundness: Soundness = Soundness.EXACT,
) -> Rewrite:
    """The pass that puts what `replacement` returns in place of what `pattern` returns.

    Both are functions of the same values, written by calling ops (the form is torch.fx's):

        once = graphopt.rewrite(lambda x: relu(relu(x)), lambda x: relu(x))
        graphopt.optimize(graph, [once])

    A parameter annotated Const, Maybe, Many or Attr (of `graphopt.rewriting`) stands for a
    constant, an input that may be left out, several operands, or an attribute; any other for a
    value. `when` is a guard over some of them, by its parameters' names. A replacement whose type
    does not refine what it replaces is never made.
    Raises RewriteError for a pattern that is no application, or a value that it does not bind.
    """
    left_of: Callable[..., Any] = pattern  # called with as many values as it takes
    right_of: Callable[..., Any] = replacement
    variables = {
        param.name: Var(param.name, _kind(param.annotation))
        for param in signature(pattern).parameters.values()
    }
    left = left_of(**variables)
    if not isinstance(left, Apply):
        raise RewriteError("the pattern must be an op applied to values", at=_name(pattern))
    wanted = signature(replacement).parameters
    strange = [name for name in wanted if name not in variables]
    if strange:
        raise RewriteError(f"the pattern binds no {strange[0]!r}", at=_name(replacement))
    right: Any = right_of(**{name: variables[name] for name in wanted})
    guards = () if when is None else Guard(_name(when), when)
    rule = Rule(_name(pattern), left, right, guards, soundness=soundness, family="rewrite")
    rule.check()
    return Rewrite(rule)


def _kind(annotation: Any) -> str:
    return annotation if annotation in KINDS else "Value"


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", "rule").strip("<>")
