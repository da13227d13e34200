"""What a traced function reads from outside its arguments, and how it is read again at a call.

A source is one reading: of a global, a closure's cell, an attribute, an item, or of one array that
was met by itself. `code` gives it as an expression over names that `bind` makes, so that a call
checks what was read by straight-line code.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from graphopt.frontends.trace.kinds import class_of, is_a

Bind = Callable[[Any], str]
"""Gives a name under which the generated code finds an object."""


class _Missing:
    def __repr__(self) -> str:
        return "nothing"


MISSING: Any = _Missing()
"""What a reading gives where there is nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """One reading: of `name` in `holder`, or of the holder itself."""

    holder: Any
    name: Any = None

    @property
    def key(self) -> tuple[Any, ...]:
        """What tells a reading from others."""
        return (type(self), id(self.holder), self.name)

    def code(self, bind: Bind) -> str:
        """The reading as an expression."""
        return bind(self.holder)

    @property
    def text(self) -> str:
        """What is read, for messages."""
        return "an array"

    @property
    def label(self) -> str:
        """The name of an input that comes from here."""
        return "captured"


class GlobalSource(Source):
    """The global `name` of a module, whose dict is the holder."""

    __slots__ = ()

    def code(self, bind: Bind) -> str:
        return f"{bind(self.holder)}.get({self.name!r}, {bind(MISSING)})"

    @property
    def text(self) -> str:
        return f"global {self.name}"

    @property
    def label(self) -> str:
        return str(self.name)


class CellSource(Source):
    """A variable of an enclosing function; the holder is its cell."""

    __slots__ = ()

    def code(self, bind: Bind) -> str:
        return f"{bind(self.holder)}.cell_contents"

    @property
    def text(self) -> str:
        return f"enclosing variable {self.name}"

    @property
    def label(self) -> str:
        return str(self.name)


class FieldSource(Source):
    """The attribute `name` in an object's own dict."""

    __slots__ = ()

    def code(self, bind: Bind) -> str:
        return f"{bind(self.holder)}.__dict__.get({self.name!r}, {bind(MISSING)})"

    @property
    def text(self) -> str:
        return f"attribute {self.name} of a {class_of(self.holder).__name__}"

    @property
    def label(self) -> str:
        return str(self.name)


class AttributeSource(FieldSource):
    """The attribute `name` of a module, a class, or a slot of an object."""

    __slots__ = ()

    def code(self, bind: Bind) -> str:
        return f"getattr({bind(self.holder)}, {self.name!r}, {bind(MISSING)})"

    @property
    def text(self) -> str:
        return f"attribute {self.name} of {getattr(self.holder, '__name__', 'an object')}"


class ItemSource(Source):
    """The item `name` of a list or dict."""

    __slots__ = ()

    def code(self, bind: Bind) -> str:
        return f"{bind(self.holder)}[{bind(self.name)}]"

    @property
    def key(self) -> tuple[Any, ...]:
        return (type(self), id(self.holder), class_of(self.name), self.name)

    @property
    def text(self) -> str:
        return f"item {self.name!r} of a {class_of(self.holder).__name__}"

    @property
    def label(self) -> str:
        return f"item_{self.name}" if str(self.name).isidentifier() else "item"


class KeysSource(Source):
    """The keys of a dict as a tuple."""

    __slots__ = ()

    def code(self, bind: Bind) -> str:
        return f"tuple({bind(self.holder)})"

    @property
    def text(self) -> str:
        return "the keys of a dict"


class LengthSource(Source):
    """The length of a list."""

    __slots__ = ()

    def code(self, bind: Bind) -> str:
        return f"len({bind(self.holder)})"

    @property
    def text(self) -> str:
        return "the length of a list"


class ContentSource(Source):
    """The content of a set, list, dict or bytearray, as something that never changes."""

    __slots__ = ()

    def code(self, bind: Bind) -> str:
        items = ".items()" if is_a(self.holder, dict) else ""
        return f"{bind(FIXED[class_of(self.holder)])}({bind(self.holder)}{items})"

    @property
    def text(self) -> str:
        return f"the content of a {class_of(self.holder).__name__}"


FIXED: dict[type, type] = {
    set: frozenset,
    list: tuple,
    dict: tuple,
    OrderedDict: tuple,
    bytearray: bytes,
}
"""What the content of a container is compared as."""


def read(source: Source) -> Any:
    """What a source gives now, MISSING where there is nothing."""
    objects: dict[str, Any] = {}

    def bind(value: Any) -> str:
        name = f"o{len(objects)}"
        objects[name] = value
        return name

    try:
        return eval(source.code(bind), objects)
    except (LookupError, ValueError, AttributeError):
        return MISSING


VALUES = (bool, int, float, complex, str, bytes, tuple, frozenset)
"""Classes whose equal objects are as good as the same one."""


def same(new: Any, old: Any) -> bool:
    """Whether a value that was read again is as good as the one that was read while tracing."""
    if new is old:
        return True
    if type(new) is not type(old) or type(old) not in VALUES:
        return False
    if type(old) in (float, complex):
        return repr(new) == repr(old)  # tells 0.0 from -0.0, and NaN is NaN
    if is_a(old, tuple):
        pairs = zip(new, old, strict=False)
        return len(new) == len(old) and all(same(a, b) for a, b in pairs)
    return bool(new == old)
