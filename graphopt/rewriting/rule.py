"""Rules: equations with a guard and a soundness class, which are matched, applied and tested.

    @rules(Soundness.EXACT)
    def involutions(x: Value) -> Equations:
        yield Rule("neg_neg", neg(neg(x)), x,
            fires=lambda: neg(neg(example("float32[3]"))), misses=lambda: neg(abs_(example(...))))

The parameters of the generator are the variables of its patterns (annotated Value, Float, Const,
Many, Attr and so on); each yield is one equation. The form is egglog's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property
from inspect import signature
from types import FunctionType
from typing import TYPE_CHECKING, Any, Concatenate, Protocol, TypeVar

from graphopt.errors import RewriteError, UntypedError
from graphopt.ir import Node
from graphopt.op import Op
from graphopt.refine import refines
from graphopt.rewriting.pattern import (
    Apply,
    Bindings,
    Named,
    Var,
    build,
    match_apply,
    strictness,
    variables,
)
from graphopt.rewriting.quick import quick_test
from graphopt.structural import constant_op

if TYPE_CHECKING:
    Value = Any
    Float = Any
    Integer = Any
    Boolean = Any
    Const = Any
    Maybe = Any
    MaybeConst = Any
    Many = Any
    Attr = Any
else:  # by name, whether or not annotations are evaluated
    Value, Const, Maybe = "Value", "Const", "Maybe"
    Float, Integer, Boolean = "Float", "Integer", "Boolean"
    MaybeConst, Many, Attr = "MaybeConst", "Many", "Attr"
"""Annotations of a rule's variables: a value (of floats, integers or booleans), a constant, either
that may be left out, several operands, an attribute."""


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


@dataclass(frozen=True)
class Declined:
    """What a right side that is a function returns in place of a node: why there is none."""

    reason: str


@dataclass(frozen=True)
class Guard:
    """A condition that a rule needs, with the name by which a remark tells that it did not hold.

    The name reads as what must be true: "nothing is broadcast". `test` is a function of some of the
    rule's variables, of `root` (the matched node) and of `uses` (a function from a node to the
    number of its uses), by its parameters' names, or by `wants`.
    """

    name: str
    test: Function[bool]
    wants: tuple[str, ...] | None = None


Guards = Guard | tuple[Guard, ...]
Side = Apply | Var | Node | Function[Node | Declined | None]
Example = Callable[[], Node]
Refused = Callable[[str], None]
"""What is told why a rule does not apply where its left side matches."""


class UseFacts(Protocol):
    """What is known of how values are used; see `graphopt.rewriting.uses`."""

    def __call__(self, node: Node) -> int:
        """The number of uses."""
        ...

    def unseen(self, node: Node) -> bool:
        """Whether nobody can tell if a zero in this value has its other sign."""
        ...


def ignore(reason: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Rule:
    """One equation.

    `right` is a pattern, or a function of some of the variables (by its parameters' names; `root`
    is the matched node) that returns a node, or why there is none. `when` are the legality guards,
    over facts of values; `worth` the profitability guards, which may ask for `uses`. `unobserved`
    proves, for a rule of class VALUE, that there is no difference here; without it, it must be
    proven that nobody sees the difference (`Uses.unseen`). `fires` makes an
    example to which the rule applies; `misses` those that look like it and to which it must not,
    one for each legality guard in their order, which that guard alone refuses.
    """

    name: str
    left: Apply
    right: Side
    when: Guards = ()
    worth: Guards = ()
    unobserved: Guard | None = None
    fires: Example | None = None
    misses: Example | tuple[Example, ...] = ()
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

    @property
    def guards(self) -> tuple[Guard, ...]:
        """The legality guards."""
        return as_tuple(self.when)

    @property
    def near_misses(self) -> tuple[Example, ...]:
        """The examples to which the rule must not apply."""
        return as_tuple(self.misses)

    @cached_property
    def _conditions(self) -> tuple[Guard, ...]:
        return (*self.guards, *as_tuple(self.worth))

    @cached_property
    def _wanted(self) -> dict[Any, tuple[str, ...]]:
        """The names of the variables that each of the rule's functions takes."""
        functions: dict[Any, Any] = {g: g.test for g in (*self._conditions, self.unobserved) if g}
        if callable(self.right):
            functions[self.right] = self.right
        return {
            key: getattr(key, "wants", None) or parameters(function)
            for key, function in functions.items()
        }

    @cached_property
    def required(self) -> frozenset[Op]:
        """Ops that must be among those of the root's operands, or the left side cannot match."""
        return frozenset(filter(None, map(_op_of, self.left.operands)))

    @cached_property
    def fits(self) -> Callable[[Node], bool]:
        """A quick test that every node passes which the left side matches, and few others."""
        return quick_test(self.left)

    def check(self) -> None:
        """Raise RewriteError when a function or the right side asks for an unknown variable."""
        known = variables(self.left) | {"root", "uses"}
        for function, names in self._wanted.items():
            if not set(names) <= known:
                strange = sorted(set(names) - known)[0]
                what = repr(function.name) if isinstance(function, Guard) else "the right side"
                raise RewriteError(f"no variable {strange!r} for {what}", at=self.key)
        if not variables(self.right) <= known:
            raise RewriteError("the right side has a variable that the left has not", at=self.key)

    def apply(
        self, node: Node, math: Math, uses: UseFacts, refused: Refused = ignore
    ) -> Node | None:
        """What the rule puts in place of a node, None where it does not apply.

        `refused` is told why, of each way in which the left side matches.
        """
        return next(self.applications(node, math, uses, refused), None)

    def applications(
        self, node: Node, math: Math, uses: UseFacts, refused: Refused = ignore
    ) -> Iterator[Node]:
        """As `apply`, for every way in which the left side matches."""
        for bound in match_apply(self.left, node, {}):
            try:
                made = self._made({**bound, "root": node, "uses": uses}, math)
            except UntypedError as error:  # what an opaque op gives: rules ask for shapes at will
                made = Declined(f"nothing is known of the type of {error.at}")
            if isinstance(made, Declined):
                refused(made.reason)
            elif made is not None:
                yield made

    def _made(self, bound: Bindings, math: Math) -> Node | Declined | None:
        """What a match becomes, or why it does not; None where there is nothing to do."""
        failed = self._failed(bound)
        if failed is not None:
            return Declined(f"not so: {failed.name}")
        made, root = self._right(bound), bound["root"]
        if made is None or made is root or isinstance(made, Declined):
            return None if made is root else made
        unproven = self._unproven(bound, math)
        if unproven is not None:
            return Declined(f"not so: {unproven.name}")
        return made if refines(made, root) else Declined(f"{made.type} does not refine {root.type}")

    def _failed(self, bound: Bindings) -> Guard | None:
        """The first guard that does not hold, None where all do."""
        for guard in self._conditions:
            if not self._holds(guard, bound):
                return guard
        return None

    def _unproven(self, bound: Bindings, math: Math) -> Guard | None:
        """What must be shown for a rule of class VALUE and is not; asked last, it costs most."""
        if self.soundness is Soundness.VALUE and math is Math.DEFAULT:
            proof = self.unobserved or UNPROVEN
            if not self._holds(proof, bound) and not bound["uses"].unseen(bound["root"]):
                return proof
        return None

    def _right(self, bound: Bindings) -> Node | Declined | None:
        if not callable(self.right):
            return build(self.right, bound)
        right: Callable[..., Node | Declined | None] = self.right
        return right(*(bound[name] for name in self._wanted[right]))

    def _holds(self, guard: Guard, bound: Bindings) -> bool:
        if guard is UNPROVEN:
            return False
        test: Callable[..., bool] = guard.test
        return test(*(bound[name] for name in self._wanted[guard]))


UNPROVEN = Guard("the sign of zero and a NaN's payload cannot be seen", lambda root: False)


def _op_of(pattern: Any) -> Op | None:
    """The op that a node must have to match a pattern, None if that cannot be said."""
    if isinstance(pattern, Named):
        return pattern.pattern.op
    if isinstance(pattern, Apply):
        return pattern.op
    if isinstance(pattern, Var):
        return constant_op if pattern.kind == "Const" else None
    return constant_op if isinstance(pattern, int | float) else None


def parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names of a function's parameters.

    >>> parameters(lambda x, y: x)
    ('x', 'y')
    """
    if not isinstance(function, FunctionType):
        return tuple(signature(function).parameters)
    code = function.__code__  # by far the quickest, and there are hundreds of rules
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def as_tuple(items: T | tuple[T, ...]) -> tuple[T, ...]:
    """One thing as a tuple of one."""
    return items if isinstance(items, tuple) else (items,)  # pyright: ignore[reportUnknownVariableType]


Equations = Iterator[Rule]


@dataclass(frozen=True)
class RuleSet:
    """Some rules, of one family or several; sets add with `+`. See `by_root` for their order."""

    rules: tuple[Rule, ...]

    def __add__(self, other: RuleSet) -> RuleSet:
        return RuleSet(self.rules + other.rules)

    def __iter__(self) -> Iterator[Rule]:
        return iter(self.rules)

    def __len__(self) -> int:
        return len(self.rules)

    @cached_property
    def by_root(self) -> Mapping[Op, Sequence[Rule]]:
        """The rules by the op at the root of their left side, in the order in which they are tried.

        Those whose left side asks for more come first, so that none takes a part of what another
        one takes as a whole; those that ask for as much stay in their order.
        """
        found: dict[Op, list[Rule]] = {}
        for rule in sorted(self.rules, key=lambda rule: -strictness(rule.left)):
            found.setdefault(rule.root, []).append(rule)
        return found


def rules(
    soundness: Soundness = Soundness.EXACT,
) -> Callable[[Callable[..., Equations]], RuleSet]:
    """Decorate a generator of equations; its name is the family of their rules."""

    def collect(equations: Callable[..., Equations]) -> RuleSet:
        family = equations.__name__
        kinds = equations.__annotations__
        given = [Var(name, str(kinds.get(name))) for name in parameters(equations)]
        made: list[Rule] = []
        for rule in equations(*given):
            strictest = max(soundness, rule.soundness)
            named = replace(rule, family=family, soundness=strictest, doc=equations.__doc__ or "")
            named.check()
            made.append(named)
        return RuleSet(tuple(made))

    return collect
