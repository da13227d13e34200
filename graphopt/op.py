"""What an op is: its name, type rule, kernel and facts, declared together in one place.

    @op("Transpose", facts=MOVES)
    def transpose(xp: Xp, x: Array, *, perm: Ints | None = None) -> Array:
        \"\"\"Permute the axes of x; output axis i is input axis perm[i].\"\"\"
        return xp.transpose(x, perm)

    @transpose.infer
    def _(x: Node, *, perm: Ints | None) -> Type: ...

The kernel's signature is the op's: `xp` is the array namespace (NumPy, or one with its functions),
positional parameters are inputs (default None: may be absent; `*xs`: any number), keyword-only
parameters are attributes with their defaults and, by their annotation, their kinds. A keyword
`outputs: int = 1` says that a node of this op may have several. Calling the op builds a node.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any, Concatenate, Literal, Self, TypeAlias, cast

from graphopt.errors import GraphoptError, TypeRuleError, nearest
from graphopt.ir import NO_ATTRIBUTES, Attributes, Node, attribute_key
from graphopt.types import UNKNOWN, AbsentType, TupleType, Type, UnknownType

if TYPE_CHECKING:
    from graphopt.ranges import ValueFacts

Xp = Any
"""An array namespace: NumPy or a module with its functions, plus what `graphopt.namespace` adds."""
Array = Any
Ints = tuple[int, ...]
Floats = tuple[float, ...]
Strings = tuple[str, ...]

TypeRule = Callable[..., Type | tuple[Type, ...]]
Proven: TypeAlias = "ValueFacts | tuple[ValueFacts, ...]"
BoundsRule: TypeAlias = (
    Callable[[Node, Any], Proven]
    | Callable[[Node, Any, Any], Proven]
    | Callable[[Node, Any, Any, Any], Proven]
    | Callable[Concatenate[Node, Any, Any, Any, Any, ...], Proven]
)
"""From a node and the facts of its inputs (None: absent) to those of its outputs.

So many are spelled out because a checker knows nothing of a lambda's parameters by `...`.
"""
REQUIRED = object()

OPSET = 28
"""The version of ai.onnx whose semantics the ops of domain '' have."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of an op beside its type rule and kernel.

    `elementwise`: output element i depends on the broadcast inputs' elements i only. `moves`: the
    output's elements are elements of the first input. `total`: never fails on inputs whose types
    prove that they fit, so it may leave a branch or a loop. `commutative`, and `unit` (e with
    f(x, e) = x, `unit_side` where), are meant bit for bit but for the payload of a NaN.
    `idempotent`: f(f(x)) = f(x), of two inputs f(x, x) = x. `monotone` holds among numbers, within
    the op's error. `ulps`: error bound of an element-wise op on any backend, in units of
    eps * max(1, |y|). `host_inputs`: inputs whose content, not only type, shapes the result.
    `mutates`: positions of inputs that are versions of a resource which the node ends, returning
    the successor as output of the same rank among its resource outputs. `opaque`: not understood:
    never merged, duplicated, folded or moved. `signed_zero`: what becomes of it when a zero among
    the inputs has its other sign: absorbed, the results keep their bits; passed, they change in the
    signs of zeros at the most; "", anything, as of 1 / x. It does not hold of strings, nor of
    the inputs at the positions that are `revealing`, such as a divisor. `sealed`: rewrites do
    not enter its bodies.
    """

    elementwise: bool = False
    moves: bool = False
    total: bool = False
    commutative: bool = False
    involution: bool = False
    idempotent: bool = False
    monotone: Literal["increasing", "decreasing", ""] = ""
    unit: float | bool | None = None
    unit_side: Literal["both", "right"] = "both"
    mutates: tuple[int, ...] = ()
    host_inputs: tuple[int, ...] = ()
    opaque: bool = False
    sealed: bool = False
    ulps: float = 0.0
    ufunc: str = ""
    signed_zero: Literal["passed", "absorbed", ""] = ""
    revealing: tuple[int, ...] = ()


PLAIN = Facts()


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute's kind (its annotation less `| None`) and default, REQUIRED if it has none."""

    kind: str
    default: Any


class Op:
    """An operation. See the module's text for how one is declared.

    `inputs` names the positional inputs, `required` counts those that may not be absent,
    `variadic` says that the last takes any number. Calling it builds a `Node`; it raises
    TypeRuleError for unknown attributes, a wrong number of inputs and what the type rule refuses.
    """

    def __init__(
        self, name: str, kernel: Callable[..., Any], *, domain: str = "", facts: Facts = PLAIN
    ) -> None:
        self.name = name
        self.domain = domain
        self.kernel = kernel
        self.facts = facts
        self.rule: TypeRule | None = None
        self.bounds_rule: BoundsRule | None = None
        self.example: Callable[[], Sequence[Node]] | None = None
        self.inputs: tuple[str, ...] = ()
        self.required = 0
        self.variadic = False
        self.attributes: dict[str, Attribute] = {}
        self._read_signature()
        self.has_bodies = any(a.kind == "Body" for a in self.attributes.values()) or facts.opaque
        self._defaults = {n: a.default for n, a in self.attributes.items()}
        self._obligatory = [n for n, value in self._defaults.items() if value is REQUIRED]
        self._default_keys = {n: attribute_key(v) for n, v in self._defaults.items()}
        self.__doc__ = kernel.__doc__

    def _read_signature(self) -> None:
        for param in list(signature(self.kernel).parameters.values())[1:]:
            if param.kind is Parameter.VAR_POSITIONAL:
                self.variadic = True
            elif param.kind is Parameter.KEYWORD_ONLY:
                kind = str(param.annotation).removesuffix(" | None")
                default = REQUIRED if param.default is Parameter.empty else param.default
                if kind == "float" and isinstance(default, float):
                    default = float32(default)
                self.attributes[param.name] = Attribute(kind, default)
                continue
            elif param.kind is not Parameter.VAR_KEYWORD:
                self.required += param.default is Parameter.empty
            if param.kind is not Parameter.VAR_KEYWORD:
                self.inputs += (param.name,)

    def infer(self, rule: TypeRule) -> TypeRule:
        """Decorate the op's type rule: f(*values or None, **attributes) -> type or types.

        The rule raises TypeRuleError (by `refuse`) for what the op does not take.
        """
        self.rule = rule
        return rule

    def bounds(self, rule: BoundsRule) -> BoundsRule:
        """Decorate what is proven of the result: f(node, *facts of inputs or None) -> facts.

        One `ValueFacts`, or one for each of several outputs, for exact arithmetic or wider; see
        `graphopt.ranges`. Without a rule nothing is proven but of ops that only move elements.
        """
        self.bounds_rule = rule
        return rule

    def examples(self, make: Callable[[], Sequence[Node]]) -> Callable[[], Sequence[Node]]:
        """Decorate a function that returns example nodes, for the tests over the table of ops."""
        self.example = make
        return make

    def __call__(self, *inputs: Any, **attrs: Any) -> Any:
        """The node of this op over `inputs` (None: absent); of a pattern or tracer, its kind."""
        values: list[Node] = []
        for item in inputs:
            if isinstance(item, Node):
                values.append(item)
            elif item is None:
                values.append(absent)
            else:
                return self._apply_other(inputs, attrs)
        while values and values[-1] is absent and len(values) > self.required:
            values.pop()
        return Node(self, tuple(values), self.normal(attrs) if attrs else NO_ATTRIBUTES)

    def _apply_other(self, inputs: tuple[Any, ...], attrs: dict[str, Any]) -> Any:
        """Let the first operand that knows how (a pattern, a tracer) be operated on."""
        for item in inputs:
            if hasattr(item, "__graphopt_apply__"):
                return item.__graphopt_apply__(self, inputs, attrs)
        strange = next(item for item in inputs if item is not None and not isinstance(item, Node))
        raise TypeRuleError(f"{strange!r} is not a value", at=self.name)

    def normal(self, attrs: Mapping[str, Any]) -> Attributes:
        """Attributes in normal form: tuples, float32 values, no defaults.

        Raises TypeRuleError for an attribute that the op does not have.
        """
        made: dict[str, Any] = {}
        for name, value in attrs.items():
            declared = self.attributes.get(name)
            if declared is None:
                hint = nearest(name, list(self.attributes))
                raise TypeRuleError(f"no attribute {name!r}{hint}", at=self.name)
            if declared.kind == "float" and value is not None:
                value = float32(value)
            elif declared.kind == "Floats" and value is not None:
                value = tuple(map(float32, value))
            elif isinstance(value, list):
                value = tuple(cast("Sequence[Any]", value))
            if attribute_key(value) != self._default_keys[name]:
                made[name] = value
        return made

    def arguments(self, attrs: Attributes) -> Mapping[str, Any]:
        """All attributes, those left out at their defaults."""
        if not attrs:
            return self._defaults
        return {**self._defaults, **attrs}

    def infer_type(self, inputs: tuple[Node, ...], attrs: Attributes) -> Type:
        """The type of a node: one output's type, or a TupleType of several.

        Raises TypeRuleError naming the op.
        """
        values = self._checked(inputs)
        arguments = self.arguments(attrs)
        for name in self._obligatory:
            if name not in attrs:
                raise TypeRuleError(f"attribute {name!r} is missing", at=self.name)
        kinds = {type(item.derived_type) for item in inputs}
        if UnknownType in kinds and not self.facts.opaque:
            count = arguments.get("outputs", 1)
            return UNKNOWN if count == 1 else TupleType((UNKNOWN,) * count)
        if self.rule is None:
            raise TypeRuleError("the op has no type rule", at=self.name)
        try:
            kind = self.rule(*values, **arguments)
        except GraphoptError as error:
            error.at = error.at or self.name
            raise
        return TupleType(kind) if isinstance(kind, tuple) else kind

    def _checked(self, inputs: tuple[Node, ...]) -> list[Node | None]:
        if len(inputs) < self.required or (not self.variadic and len(inputs) > len(self.inputs)):
            wanted = f"{self.required}" + (
                " or more" if self.variadic else f" to {len(self.inputs)}"
            )
            raise TypeRuleError(f"{len(inputs)} inputs where {wanted} are taken", at=self.name)
        values: list[Node | None] = []
        for position, item in enumerate(inputs):
            kind = type(item.derived_type)
            if kind is TupleType:
                message = f"input {position} has several outputs: take one by out(node, i)"
                raise TypeRuleError(message, at=self.name)
            if kind is AbsentType:
                if position < self.required:
                    raise TypeRuleError(f"input {self.inputs[position]!r} is missing", at=self.name)
                values.append(None)
            else:
                values.append(item)
        if not self.variadic:
            values += [None] * (len(self.inputs) - len(values))
        return values

    @property
    def key(self) -> tuple[str, str]:
        """(domain, name)."""
        return (self.domain, self.name)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return (find_op, self.key)

    def __repr__(self) -> str:
        return f"{self.domain}::{self.name}" if self.domain else self.name


def op(name: str, *, domain: str = "", facts: Facts = PLAIN) -> Callable[[Callable[..., Any]], Op]:
    """Declare an op; the decorated function is its kernel."""
    return lambda kernel: Op(name, kernel, domain=domain, facts=facts)


def float32(value: float) -> float:
    """`value` rounded to float32, which float attributes of ONNX are."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def refuse(message: str) -> TypeRuleError:
    """The error of a type rule; `Op` adds the op's name."""
    return TypeRuleError(message)


def find_op(domain: str, name: str) -> Op:
    """The op of the table with this domain and name; raises KeyError."""
    from graphopt.ops import table

    return table()[domain, name]


def _absent_kernel(xp: Xp) -> None:
    return None


ABSENT_OP = Op("Absent", _absent_kernel, domain="graphopt", facts=Facts(total=True))
ABSENT_OP.infer(lambda: AbsentType())
absent = Node(ABSENT_OP)
"""What stands for an optional input that is left out."""
