"""What stands for modules and for `type` in a traced function, and what it may not assign."""

from __future__ import annotations

import dis
import sys
from functools import lru_cache
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any

from graphopt.frontends.trace.array import TracedArray
from graphopt.frontends.trace.catalogue import is_frozen_module
from graphopt.frontends.trace.kinds import class_of
from graphopt.frontends.trace.number import TracedNumber
from graphopt.frontends.trace.places import Place
from graphopt.frontends.trace.sources import MISSING, AttributeSource

if TYPE_CHECKING:
    from graphopt.frontends.trace.live import Viewer

UNGUARDED = frozenset(sys.stdlib_module_names) | {"numpy", "ml_dtypes", "graphopt"}
"""Packages whose globals are taken not to change."""


def type_view(viewer: Viewer) -> type:
    """What stands for `type`: of a traced value it gives the class that NumPy or Python has."""

    class Meta(type):
        def __call__(cls, *args: Any, **kwargs: Any) -> Any:
            if len(args) != 1 or kwargs:
                return type.__call__(cls if cls is not view else type, *args, **kwargs)
            kind = class_of(args[0])
            if kind in (TracedArray, TracedNumber):
                return viewer.seen(args[0].__class__, None)
            return viewer.seen(getattr(kind, "__graphopt_original__", kind), None)

        def __instancecheck__(cls, value: Any) -> bool:
            return isinstance(value, type if cls is view else cls)

    view = Meta("type", (type,), {})
    return view


def module_of(value: Any) -> str:
    """The module of a function, or of the object that it is a method of."""
    owner = getattr(value, "__self__", None)
    name = getattr(value, "__module__", None) or type(owner).__module__
    return name if isinstance(name, str) else ""


def is_changing(value: Any) -> bool:
    """Whether a function or an object gives something else at each call."""
    if isinstance(value, ModuleType | type):
        return False
    owner = getattr(value, "__self__", None)
    owners = () if owner is None or isinstance(owner, ModuleType) else (type(owner).__module__,)
    return any(map(is_frozen_module, (module_of(value), type(value).__module__, *owners)))


@lru_cache(maxsize=4096)
def assignment(code: CodeType) -> tuple[str, Place] | None:
    """The first assignment to a global or to a variable of an enclosing function, and its name."""
    for step in dis.get_instructions(code):
        outside = step.opname in ("STORE_GLOBAL", "DELETE_GLOBAL") or (
            step.opname in ("STORE_DEREF", "DELETE_DEREF") and step.argval in code.co_freevars
        )
        if outside:
            return str(step.argval), Place(code, step.offset)
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            found = assignment(inner)
            if found is not None and found[0] not in (*code.co_varnames, *code.co_cellvars):
                return found
    return None


class ModuleView(ModuleType):
    """A module, neither NumPy's nor ours, whose functions and arrays are seen as globals are."""

    def __init__(self, viewer: Viewer, module: ModuleType) -> None:
        super().__init__(module.__name__, module.__doc__)
        own = ModuleType.__getattribute__(self, "__dict__")
        own.update(_viewer=viewer, _module=module)

    def __getattribute__(self, name: str) -> Any:
        own = ModuleType.__getattribute__(self, "__dict__")
        viewer: Viewer = own["_viewer"]
        module: ModuleType = own["_module"]
        if name in ("__dict__", "__class__"):
            return viewer.globals_of(vars(module)) if name == "__dict__" else ModuleType
        value = getattr(module, name, MISSING)
        package = module.__name__.partition(".")[0]
        source = AttributeSource(module, name) if package not in UNGUARDED else None
        if value is MISSING:
            viewer.guard_missing(source)
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
        return viewer.read(source, value)

    def __setattr__(self, name: str, value: Any) -> None:
        viewer: Viewer = ModuleType.__getattribute__(self, "__dict__")["_viewer"]
        raise viewer.trace.fail(f"setting {name} of a module is not supported yet")

    def __dir__(self) -> list[str]:
        return dir(ModuleType.__getattribute__(self, "__dict__")["_module"])
