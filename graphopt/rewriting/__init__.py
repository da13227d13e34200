"""Rewriting: rules as equations, the matcher, and the sweep that applies them."""

from graphopt.rewriting.pattern import Apply, Pattern, Var, match
from graphopt.rewriting.rule import (
    Attr,
    Const,
    Equations,
    Function,
    Many,
    Math,
    Maybe,
    MaybeConst,
    Rule,
    RuleSet,
    Soundness,
    Value,
    rules,
)
from graphopt.rewriting.sweep import Rewriter, Sweep, sweep

__all__ = [
    "Apply",
    "Attr",
    "Const",
    "Equations",
    "Function",
    "Many",
    "Math",
    "Maybe",
    "MaybeConst",
    "Pattern",
    "Rewriter",
    "Rule",
    "RuleSet",
    "Soundness",
    "Sweep",
    "Value",
    "Var",
    "match",
    "rules",
    "sweep",
]
