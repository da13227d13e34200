"""Read sizes, types and values of attributes; graphs and bodies are `graphopt.text.parser`'s."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from graphopt import dims
from graphopt.body import Body
from graphopt.dims import Size
from graphopt.ir import Node
from graphopt.records import Record, Region
from graphopt.tensor import Tensor
from graphopt.text.elements import tensor_of
from graphopt.text.lexer import Lexer
from graphopt.text.side import SideFile
from graphopt.text.words import FUNCTIONS, float_of_bits, unquote
from graphopt.types import (
    ABSENT,
    BY_LABEL,
    UNKNOWN,
    DType,
    MapType,
    OptionalType,
    ResourceType,
    SequenceType,
    TensorType,
    TupleType,
    Type,
)

MAX_POWER = 64
_TYPES = frozenset({"sequence", "optional", "map", "resource", "unknown", "absent"})
_WORDS = {"true": True, "false": False, "none": None}


class Reader(Lexer):
    """A reader of values; `resolve` finds what a name stands for."""

    def __init__(self, text: str, file: str, side: SideFile | None) -> None:
        super().__init__(text, file)
        self.side = side
        self.anchors: dict[str, Body | Tensor] = {}

    @abstractmethod
    def resolve(self) -> Node:
        """The value whose name stands here."""

    @abstractmethod
    def body(self) -> Body:
        """The body that stands here, after the word `body`."""

    @abstractmethod
    def record(self) -> Record | Region:
        """The record that stands here."""

    def listed(self, item: Callable[[], Any], closing: str) -> tuple[Any, ...]:
        """Items with commas between them, up to and with the closing mark."""
        items: list[Any] = []
        while not self.take(closing):
            items.append(item())
            if not self.take(","):
                self.expect(closing)
                break
        return tuple(items)

    def string(self) -> str:
        """A string in quotes."""
        start = self.start
        text = self.need("string")
        try:
            return unquote(text)
        except ValueError as error:
            raise self.error(str(error), start) from None

    def word(self) -> str:
        """A name, bare or in quotes."""
        return self.string() if self.kind == "string" else self.need("name")

    # Sizes

    def size(self) -> Size:
        """A polynomial."""
        total: Size = -self._term() if self.take("-") else self._term()
        while self.kind == "mark" and self.token in "+-":
            minus = self.advance() == "-"
            term = self._term()
            total = total - term if minus else total + term
        return total

    def _term(self) -> Size:
        term = self._factor()
        while self.take("*"):
            term = term * self._factor()
        return term

    def _factor(self) -> Size:
        if self.kind == "number":
            return self.integer()
        start = self.start
        if self.kind == "name" and self.token in FUNCTIONS:
            made = self._function(self.advance(), start)
        else:
            made = dims.symbol(self.word())
        if self.take("^"):
            power = self.integer()
            if not 0 <= power <= MAX_POWER:
                raise self.error(f"powers go up to {MAX_POWER}", start)
            made = dims.product([made] * power)
        return made

    def _function(self, name: str, start: int) -> Size:
        self.expect("(")
        if name == "dim":
            value = self.resolve()
            self.expect(",")
            axis = self.integer()
            self.expect(")")
            return dims.dim_of(value, axis)
        sizes = self.listed(self.size, ")")
        fold: Callable[[Size, Size], Size | None] = {
            "div": dims.floordiv,
            "min": dims.minimum,
            "max": dims.maximum,
            "broadcast": dims.broadcast,
        }[name]
        if len(sizes) < 2 or (name == "div" and len(sizes) > 2):
            raise self.error(f"{name} does not take {len(sizes)} sizes", start)
        made: Size | None = sizes[0]
        for size in sizes[1:]:
            try:
                made = None if made is None else fold(made, size)
            except ZeroDivisionError:
                raise self.error("division by 0", start) from None
        if made is None:
            raise self.error("these sizes cannot be broadcast", start)
        return made

    # Types

    def type(self) -> Type:
        """A type."""
        if self.take("("):
            return TupleType(self.listed(self.type, ")"))
        start = self.start
        name = self.need("name")
        if name in BY_LABEL:
            return self._tensor_type(BY_LABEL[name])
        if name in ("unknown", "absent"):
            return UNKNOWN if name == "unknown" else ABSENT
        if name not in _TYPES:
            raise self.error(f"{name!r} is not a type", start)
        self.expect("(")
        made: Type
        if name == "map":
            key = self.dtype()
            self.expect(",")
            made = MapType(key, self.type())
        elif name == "resource":
            made = ResourceType(self.word())
        else:
            made = (SequenceType if name == "sequence" else OptionalType)(self.type())
        self.expect(")")
        return made

    def dtype(self) -> DType:
        """The name of a dtype."""
        if self.token not in BY_LABEL:
            raise self.unexpected("a dtype")
        return BY_LABEL[self.advance()]

    def _tensor_type(self, dtype: DType) -> TensorType:
        self.expect("[")
        if self.take("..."):
            self.expect("]")
            shape = None
        else:
            shape = self.listed(self._element, "]")
        known = self.listed(self._element, "}") if self.take("{") else None
        return TensorType(dtype, shape, known)

    def _element(self) -> Any:
        """A size of a shape or a known element: None where it is not known."""
        if self.take("?"):
            return None
        if self.kind == "name":
            if self.take("float"):
                self.expect("(")
                number = self.number()
                self.expect(")")
                return float(number)
            if self.token in ("true", "false"):
                return self.advance() == "true"
        return self.size()

    # Values of attributes

    def value(self) -> Any:
        """The value of an attribute."""
        if self.kind == "string":
            return self._bytes() if self.token.startswith("b") else self.string()
        if self.kind == "number" or self.token in ("-", "inf", "nan"):
            return self.number()
        if self.token in ("&", "tensor", "splat", "body"):
            return self.anchored()
        if self.token in ("record", "region"):
            return self.record()
        if self.token in _WORDS:
            return _WORDS[self.advance()]
        if self.take("["):
            return self.listed(self.value, "]")
        if self.take("size"):
            self.expect("(")
            size = self.size()
            self.expect(")")
            return size
        return self._type_value()

    def _type_value(self) -> Type | DType:
        if self.token in BY_LABEL:
            dtype = self.dtype()
            return self._tensor_type(dtype) if self.token == "[" else dtype
        if self.token == "(" or self.token in _TYPES:
            return self.type()
        raise self.unexpected("the value of an attribute")

    def _bytes(self) -> bytes:
        start = self.start
        try:
            return unquote(self.advance()[1:]).encode("latin-1")
        except ValueError as error:  # of which UnicodeEncodeError is one
            raise self.error(f"these are not bytes: {error}", start) from None

    def number(self) -> int | float:
        """A number: an int unless it has a point or an exponent or is none."""
        minus = self.take("-")
        start = self.start
        if self.take("inf"):
            return float("-inf") if minus else float("inf")
        if self.take("nan"):
            if not self.take("("):
                return float("nan")
            bits = self.integer()
            self.expect(")")
            made = float_of_bits(bits & (1 << 64) - 1)
            if made == made:
                raise self.error("these are not the bits of a NaN", start)
            return made
        if self.kind == "number" and not self.token.isdigit() and self.token[:2] != "0x":
            text = self.advance()
            return float("-" + text) if minus else float(text)
        made_int = self.integer()
        return -made_int if minus else made_int

    def anchored(self) -> Body | Tensor:
        """A body or a tensor, perhaps marked to be repeated, or the mark of one."""
        start = self.start
        if not self.take("&"):
            return self._content()
        mark = self.need("number")
        if self.token in ("tensor", "splat", "body"):
            made = self.anchors[mark] = self._content()
            return made
        if mark not in self.anchors:
            raise self.error(f"nothing before here is marked &{mark}", start)
        return self.anchors[mark]

    def _content(self) -> Body | Tensor:
        start = self.start
        name = self.need("name")
        if name == "body":
            return self.body()
        self.expect("(")
        kind = self._tensor_type(self.dtype())
        shape = kind.shape
        if shape is None or not all(type(size) is int and size >= 0 for size in shape):
            raise self.error("the sizes of a constant are numbers", start)
        self.expect(",")
        try:
            made = self._tensor(kind.dtype, shape, splat=name == "splat")  # type: ignore[arg-type]  # pyright: ignore
        except (ValueError, OverflowError) as error:
            raise self.error(str(error), start) from None
        self.expect(")")
        return made

    def _tensor(self, dtype: DType, shape: tuple[int, ...], *, splat: bool) -> Tensor:
        """A tensor by its elements, its bytes, or its place in the side file."""
        if self.take("raw"):
            return Tensor.from_raw(dtype, shape, bytes.fromhex(self.string()))
        if self.take("at"):
            if self.side is None:
                raise ValueError("this constant is in a side file: read the text by read_text")
            return self.side.tensor(dtype, shape, self.integer())
        self.expect("[")
        if dtype is DType.STRING:
            texts = self.listed(self.string, "]")
            return Tensor.strings([t.encode("utf-8", "surrogateescape") for t in texts], shape)
        return tensor_of(dtype, shape, self.listed(self._element_word, "]"), splat=splat)

    def _element_word(self) -> str:
        sign = "-" if self.take("-") else ""
        if self.kind not in ("number", "name"):
            raise self.unexpected("an element")
        return sign + self.advance()
