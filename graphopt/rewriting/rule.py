"""Rules: equations with a guard and a soundness class, which are matched, applied and tested.

    @rules(Soundness.EXACT)
    def involutions(x: Value) -> Equations:
        yield Rule("neg_neg", neg(neg(x)), x,
            fires=lambda: neg(neg(example("float32[3]"))), misses=lambda: neg(abs_(example(...))))

The parameters of the generator are the variables of its patterns (annotated Value, Const,
MaybeConst, Many or Attr); each yield is one equation. The form is egglog's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property
from inspect import signature
from typing import TYPE_CHECKING, Any, Concatenate, TypeVar

from graphopt.errors import RewriteError
from graphopt.ir import Node
from graphopt.op import Op
from graphopt.rewriting.pattern import Apply, Bindings, Var, build, match_apply, variables

if TYPE_CHECKING:
    Value = Any
    Const = Any
    Maybe = Any
    MaybeConst = Any
    Many = Any
    Attr = Any
else:  # by name, whether or not annotations are evaluated
    Value, Const, Maybe = "Value", "Const", "Maybe"
    MaybeConst, Many, Attr = "MaybeConst", "Many", "Attr"
"""Annotations of a rule's variables: a value, a constant, either that may be left out, several
operands, an attribute."""


class Soundness(IntEnum):
    """How far a rule's two sides may differ.

    EXACT: bit for bit. VALUE: but for the sign of zero or a NaN's payload. ROUNDING: by rounding,
    within the error that the left side may have too, and nothing overflows for ordinary inputs.
    FAST: visibly, for some legal inputs.
    """

    EXACT = 0
    VALUE = 1
    ROUNDING = 2
    FAST = 3


class Math(IntEnum):
    """Which rules are admitted: those of EXACT; of all but FAST, VALUE where proven; or all."""

    STRICT = 0
    DEFAULT = 1
    FAST = 2

    def admits(self, soundness: Soundness) -> bool:
        """Whether rules of a class may run; in DEFAULT, one of VALUE must be proven at each use."""
        if self is Math.STRICT:
            return soundness is Soundness.EXACT
        return self is Math.FAST or soundness is not Soundness.FAST


T = TypeVar("T")
Function = (
    Callable[[Any], T]
    | Callable[[Any, Any], T]
    | Callable[[Any, Any, Any], T]
    | Callable[[Any, Any, Any, Any], T]
    | Callable[Concatenate[Any, Any, Any, Any, Any, ...], T]
)
"""A function of some variables of a rule, by its parameters' names; it may be a lambda of five.

So many are spelled out because a checker knows nothing of a lambda's parameters by `...`.
"""
Side = Apply | Var | Node | Function[Node | None]
Example = Callable[[], Node]


@dataclass(frozen=True)
class Rule:
    """One equation.

    `right` is a pattern, or a function of some of the variables (by its parameters' names; `root`
    is the matched node) that returns a node, or None to decline. `when` is the legality guard: a
    function of the same kind over facts of values. `worth` is the profitability guard, which may
    ask for `uses`, a function from a node to the number of its uses. `unobserved` proves, for a
    rule of class VALUE, that the difference cannot be seen here. `fires` makes an example to which
    the rule applies and `misses` one that looks like it and to which it must not.
    """

    name: str
    left: Apply
    right: Side
    when: Function[bool] | None = None
    worth: Function[bool] | None = None
    unobserved: Function[bool] | None = None
    fires: Example | None = None
    misses: Example | None = None
    soundness: Soundness = Soundness.EXACT
    family: str = ""
    doc: str = ""

    @property
    def key(self) -> str:
        """The name by which a rule is switched off and reported: family.name."""
        return f"{self.family}.{self.name}"

    @property
    def root(self) -> Op:
        """The op at the root of the left side."""
        return self.left.op

    @cached_property
    def _wanted(self) -> dict[Any, tuple[str, ...]]:
        """The parameters' names of the rule's functions."""
        functions = (self.when, self.worth, self.unobserved, self.right)
        return {f: tuple(signature(f).parameters) for f in functions if callable(f)}

    def check(self) -> None:
        """Raise RewriteError when a function or the right side asks for an unknown variable."""
        known = variables(self.left) | {"root", "uses"}
        for function, names in self._wanted.items():
            if not set(names) <= known:
                strange = sorted(set(names) - known)[0]
                raise RewriteError(f"no variable {strange!r} in {function}", at=self.key)
        if not variables(self.right) <= known:
            raise RewriteError("the right side has a variable that the left has not", at=self.key)

    def apply(self, node: Node, math: Math, uses: Callable[[Node], int]) -> Node | None:
        """What the rule puts in place of a node, None where it does not apply."""
        for bound in match_apply(self.left, node, {}):
            bound = {**bound, "root": node, "uses": uses}
            if self._admitted(bound, math):
                made = self._right(bound)
                if made is not None and made is not node:
                    return made
        return None

    def _admitted(self, bound: Bindings, math: Math) -> bool:
        if self.when is not None and not self._call(self.when, bound):
            return False
        proof_wanted = self.soundness is Soundness.VALUE and math is Math.DEFAULT
        if proof_wanted and (self.unobserved is None or not self._call(self.unobserved, bound)):
            return False
        return self.worth is None or self._call(self.worth, bound)

    def _right(self, bound: Bindings) -> Node | None:
        if not callable(self.right):
            return build(self.right, bound)
        made: Node | None = self._call(self.right, bound)
        return made

    def _call(self, function: Callable[..., Any], bound: Bindings) -> Any:
        return function(*(bound[name] for name in self._wanted[function]))


Equations = Iterator[Rule]


@dataclass(frozen=True)
class RuleSet:
    """Some rules of one family, in the order in which they are tried; sets add with `+`."""

    rules: tuple[Rule, ...]

    def __add__(self, other: RuleSet) -> RuleSet:
        return RuleSet(self.rules + other.rules)

    def __iter__(self) -> Iterator[Rule]:
        return iter(self.rules)

    def __len__(self) -> int:
        return len(self.rules)


def rules(
    soundness: Soundness = Soundness.EXACT,
) -> Callable[[Callable[..., Equations]], RuleSet]:
    """Decorate a generator of equations; its name is the family of their rules."""

    def collect(equations: Callable[..., Equations]) -> RuleSet:
        family = equations.__name__
        given = [
            Var(param.name, str(param.annotation))
            for param in signature(equations).parameters.values()
        ]
        made: list[Rule] = []
        for rule in equations(*given):
            strictest = max(soundness, rule.soundness)
            named = replace(rule, family=family, soundness=strictest, doc=equations.__doc__ or "")
            named.check()
            made.append(named)
        return RuleSet(tuple(made))

    return collect
