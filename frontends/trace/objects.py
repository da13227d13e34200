"""Objects and classes of the user's, as a traced function sees them.

The methods of an object have the globals of their class's module, and what an object holds may
change between calls. So a shadow stands for it: of a subclass whose methods are traced, and which
reads the object's attributes as guards of the trace. Writing an attribute is refused.
"""

from __future__ import annotations

import dis
import enum
import sys
from functools import lru_cache
from types import (
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    SimpleNamespace,
)
from typing import TYPE_CHECKING, Any

import numpy as np

from graphopt.frontends.trace.containers import captured
from graphopt.frontends.trace.kinds import class_of, is_a
from graphopt.frontends.trace.sources import MISSING, AttributeSource, FieldSource

if TYPE_CHECKING:
    from graphopt.frontends.trace.live import Viewer

HEAP = 1 << 9  # Py_TPFLAGS_HEAPTYPE: made by a class statement, or by an extension that does alike
LIBRARIES = frozenset(sys.stdlib_module_names) | {"numpy", "ml_dtypes", "graphopt"}
DATA = (MemberDescriptorType, GetSetDescriptorType)


def _package(kind: type) -> str:
    return str(kind.__module__).partition(".")[0]


def is_users(kind: type) -> bool:
    """Whether a class was made by a class statement, and not in a library that is known not to."""
    own = bool(kind.__flags__ & HEAP) and _package(kind) not in LIBRARIES
    return own or kind is SimpleNamespace


def is_object(value: Any) -> bool:
    """Whether an object is of a user's class that can have a shadow."""
    kind = class_of(value)
    if not is_users(kind) or isinstance(value, enum.Enum | BaseException | np.ndarray):
        return False
    return not isinstance(value, tuple)  # named tuples change as little as tuples


@lru_cache(maxsize=1024)
def is_inert(kind: type) -> bool:
    """Whether a class may be used as it is: none of its methods depends on globals."""
    if not is_users(kind) or issubclass(kind, enum.Enum | BaseException | tuple):
        return True
    functions = [
        part
        for base in kind.__mro__
        if is_users(base)
        for member in vars(base).values()
        for part in _functions(member)
    ]
    return not any(_uses_globals(part.__code__, part.__globals__) for part in functions)


def _functions(member: Any) -> list[FunctionType]:
    """The functions in a member of a class."""
    found: list[Any] = [member]
    if is_a(member, staticmethod | classmethod):
        found = [member.__func__]
    elif is_a(member, property):
        found = [member.fget, member.fset, member.fdel]
    return [item for item in found if isinstance(item, FunctionType)]


def _uses_globals(code: CodeType, namespace: dict[str, Any]) -> bool:
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME") and step.argval in namespace:
            return True
        if step.opname == "IMPORT_NAME":
            return True
    inner = (item for item in code.co_consts if isinstance(item, CodeType))
    return any(_uses_globals(item, namespace) for item in inner)


class Shadows:
    """The shadows of one trace."""

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer
        self.reals: dict[int, Any] = {}
        self.sealed: set[int] = set()
        self._classes: dict[type, Any] = {}

    def of_class(self, kind: type) -> Any:
        """The class whose methods are traced; the class itself where it cannot have a subclass."""
        if kind in self._classes or not is_users(kind):
            return self._classes.get(kind, kind)
        self._classes[kind] = kind  # while it is made
        bases = tuple(self.of_class(base) for base in kind.__bases__ if base is not object)
        shadowed = tuple(base for base in bases if base not in kind.__bases__)
        try:
            meta: Any = _shadow_meta(type(kind))
            shadow = meta.__new__(meta, kind.__name__, (*shadowed, kind), {})
        except TypeError:
            raise self.viewer.trace.fail(
                f"objects of class {kind.__name__} are not supported in a traced function",
                "Pass the arrays that it holds as arguments.",
            ) from None
        self._classes[kind] = shadow
        self._fill(shadow, kind)
        return shadow

    def _fill(self, shadow: Any, kind: type) -> None:
        view = self.viewer.function
        for name, member in vars(kind).items():
            if hasattr(class_of(member), "__graphopt_inline__"):
                type.__setattr__(shadow, name, view(member.python))
            elif isinstance(member, FunctionType):
                type.__setattr__(shadow, name, view(member))
            elif is_a(member, staticmethod | classmethod):
                if isinstance(member.__func__, FunctionType):
                    type.__setattr__(shadow, name, class_of(member)(view(member.__func__)))
            elif type(member) is property:
                parts = [part and view(part) for part in (member.fget, member.fset, member.fdel)]
                type.__setattr__(shadow, name, property(*parts))
        type.__setattr__(shadow, "__graphopt_original__", kind)
        type.__setattr__(shadow, "__getattribute__", _reading(self))
        type.__setattr__(shadow, "__setattr__", _writing(self, kind.__setattr__))
        type.__setattr__(shadow, "__delattr__", _writing(self, kind.__delattr__))

    def seal(self, made: Any) -> Any:
        """A new object that stands for one of the caller's: its attributes are not to be set."""
        self.sealed.add(id(made))
        self.viewer.trace.kept.append(made)
        return made

    def of_object(self, value: Any) -> Any:
        """The shadow of an object; raises TraceError where it cannot have one."""
        shadow = self.of_class(class_of(value))
        new: Any = SimpleNamespace.__new__ if type(value) is SimpleNamespace else object.__new__
        try:
            made = new(shadow)
        except TypeError:
            raise self.viewer.trace.fail(
                f"an object of class {class_of(value).__name__} from outside is not supported",
                "Pass the arrays that it holds as arguments.",
            ) from None
        self.reals[id(made)] = value
        self.viewer.trace.kept.append(made)
        return made


class ShadowType(type):
    """The class of shadow classes: their instances are those of the class that they stand for."""

    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, vars(cls).get("__graphopt_original__", ()))

    def __subclasscheck__(cls, kind: type) -> bool:
        return issubclass(kind, vars(cls).get("__graphopt_original__", ()))


@lru_cache(maxsize=64)
def _shadow_meta(meta: type) -> type:
    """The class of shadows of classes that are of class `meta`."""
    return ShadowType if meta is type else type("Shadow", (ShadowType, meta), {})


def _reading(shadows: Shadows) -> Any:
    """__getattribute__ of shadows: the object's own attributes are read as guards."""

    def read(self: Any, name: str) -> Any:
        real = shadows.reals.get(id(self), MISSING)
        if name == "__class__":
            return class_of(self if real is MISSING else real)
        if real is MISSING:
            return object.__getattribute__(self, name)
        own = getattr(real, "__dict__", {})
        if name == "__dict__":
            content = {key: read(self, key) for key in own}
            return captured(shadows.viewer.trace, dict, content)
        found = _class_member(class_of(real), name)
        if name in own and not isinstance(found, property):
            return shadows.viewer.read(FieldSource(real, name), own[name])
        if found is MISSING:
            if _class_member(class_of(real), "__getattr__") is MISSING:
                shadows.viewer.guard_missing(AttributeSource(real, name))
                raise AttributeError(
                    f"{class_of(real).__name__!r} object has no attribute {name!r}"
                )
            return class_of(self).__getattr__(self, name)
        if isinstance(found, DATA):
            return shadows.viewer.read(AttributeSource(real, name), getattr(real, name))
        if hasattr(class_of(found), "__get__"):
            return object.__getattribute__(self, name)
        return shadows.viewer.read(AttributeSource(real, name), found)

    return read


def _class_member(kind: type, name: str) -> Any:
    """What a class or its bases have under a name, as it stands there."""
    for base in kind.__mro__:
        if name in vars(base):
            return vars(base)[name]
    return MISSING


def _writing(shadows: Shadows, write: Any) -> Any:
    """__setattr__ of shadows: refused for objects from outside, plain for new ones."""

    def refuse(self: Any, name: str, *value: Any) -> None:
        if id(self) in shadows.reals or id(self) in shadows.sealed:
            raise shadows.viewer.trace.fail(
                f"setting the attribute {name} of an object from outside is not supported yet",
                "The function is traced once, so this would be done once, not at each call.",
                "Return the new value instead.",
            )
        write(self, name, *value)

    return refuse
