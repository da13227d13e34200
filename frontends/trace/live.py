"""Functions as they are traced: the same code over a view of their globals and enclosing variables.

The view reads the real globals when they are asked for, and shows NumPy, functions, modules, arrays
and objects as `Viewer.seen` says. Nothing is patched, and no source is needed. What was read is a
guard of the trace: the next call checks that it is still so.
"""

from __future__ import annotations

import builtins
import functools
from array import array
from collections import ChainMap, Counter, UserDict, UserList, defaultdict, deque
from collections.abc import Callable, Iterator
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from graphopt.frontends.trace.array import TracedArray
from graphopt.frontends.trace.catalogue import is_frozen_module, is_numpy
from graphopt.frontends.trace.containers import captured
from graphopt.frontends.trace.kinds import class_of, is_a
from graphopt.frontends.trace.numpy_view import numpy_view
from graphopt.frontends.trace.objects import Shadows, is_inert, is_object
from graphopt.frontends.trace.outside import (
    UNGUARDED,
    ModuleView,
    assignment,
    is_changing,
    module_of,
    type_view,
)
from graphopt.frontends.trace.places import is_internal
from graphopt.frontends.trace.record import Recorder
from graphopt.frontends.trace.sources import (
    FIXED,
    MISSING,
    CellSource,
    ContentSource,
    GlobalSource,
    ItemSource,
    KeysSource,
    LengthSource,
    Source,
)
from graphopt.frontends.trace.trace import check_tensor, is_frozen

SCALARS = (int, float, str, bool, type(None), complex, bytes)
STATEFUL = (
    ChainMap, Counter, UserDict, UserList, array, defaultdict, deque, memoryview,
)  # fmt: skip
"""Containers that can change, of which no form that cannot is made."""
LRU: type = type(functools.lru_cache(lambda: None))
FROZEN_BUILTINS = ("input", "open")


class LiveGlobals(dict[str, Any]):
    """A module's globals as a traced function sees them. Its own storage has the builtins alone."""

    def __init__(self, viewer: Viewer, real: dict[str, Any]) -> None:
        super().__init__(__builtins__=viewer.builtins)
        self.viewer = viewer
        self.real = real
        package = str(real.get("__name__", "")).partition(".")[0]
        self.guarded = package not in UNGUARDED

    def __getitem__(self, name: str) -> Any:
        value = self.real.get(name, MISSING)
        source = GlobalSource(self.real, name) if self.guarded else None
        if value is MISSING:
            self.viewer.guard_missing(source)
            raise KeyError(name)
        if name == "__builtins__":
            return self.viewer.builtins
        try:
            return self.viewer.read(source, value)
        except KeyError as error:  # the interpreter would take it for a name that does not exist
            raise AssertionError(f"the global {name} cannot be seen") from error

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self.real else default

    def __contains__(self, name: object) -> bool:
        return name in self.real

    def __iter__(self) -> Iterator[str]:
        return iter(self.real)

    def __len__(self) -> int:
        return len(self.real)

    def keys(self) -> Any:
        return self.real.keys()

    def values(self) -> Any:
        return [self[name] for name in self.real]

    def items(self) -> Any:
        return [(name, self[name]) for name in self.real]

    def __setitem__(self, name: str, value: Any) -> None:
        raise self.viewer.trace.fail(f"assigning the global {name} is not supported yet")


class Viewer:
    """What one trace sees of everything that is not an argument."""

    def __init__(self, trace: Recorder) -> None:
        self.trace = trace
        self.shadows = Shadows(self)
        self.builtins = {**vars(builtins), "__import__": self._import, "type": type_view(self)}
        for name in FROZEN_BUILTINS:
            self.builtins[name] = self._frozen(name)
        self._globals: dict[int, LiveGlobals] = {}

    def _import(self, name: str, *args: Any, **kwargs: Any) -> Any:
        given = args[0] if args else kwargs.get("globals")
        if isinstance(given, LiveGlobals):
            args = (given.real, *args[1:])
        return self.seen(builtins.__import__(name, *args, **kwargs), None)

    def _frozen(self, name: str) -> Callable[..., Any]:
        def refuse(*args: Any, **kwargs: Any) -> Any:
            raise self.trace.fail(f"{name}() reads from outside, which a trace would freeze")

        return refuse

    def globals_of(self, real: dict[str, Any]) -> LiveGlobals:
        """The view of a module's globals."""
        if isinstance(real, LiveGlobals):
            return real
        if id(real) not in self._globals:
            self._globals[id(real)] = LiveGlobals(self, real)
        return self._globals[id(real)]

    def read(self, source: Source | None, value: Any) -> Any:
        """What the traced function sees where it reads `value` from `source`: always the same."""
        if source is None:
            return self.seen(value, None)
        known = self.trace.read.get(source.key, MISSING)
        if known is not MISSING:
            return known[1]
        if type(value) is not np.ndarray:
            self.trace.guard(source, value)
        made = self.seen(value, source)
        self.trace.read[source.key] = (value, made)
        self.trace.kept.append(source.holder)
        return made

    def guard_missing(self, source: Source | None) -> None:
        """Note that there is nothing to read."""
        if source is not None and source.key not in self.trace.read:
            self.trace.read[source.key] = MISSING
            self.trace.guard(source, MISSING)

    def seen(self, value: Any, source: Source | None) -> Any:
        """What stands for an object from outside."""
        kind = class_of(value)
        if kind in SCALARS:
            return value
        if kind is np.ndarray:
            return self._array(value, source)
        key = id(value)
        known = self.trace.seen.get(key, MISSING)
        if known is MISSING:
            known = self._view(value)
            self.trace.seen[key] = known
            self.trace.kept.append(value)
        return known

    def _array(self, array: Any, source: Source | None) -> TracedArray:
        source = source or Source(array)
        buffer = self.trace.capture(array, source)
        if is_frozen(array):
            check_tensor(array, source.text)
        return TracedArray(self.trace, buffer)

    def _view(self, value: Any) -> Any:
        kind = class_of(value)
        if is_changing(value):
            raise self._freezes(f"{getattr(value, '__name__', 'an object')} of {module_of(value)}")
        if isinstance(value, ModuleType):
            return self._module(value)
        if kind is FunctionType:
            return self.function(value)
        if is_numpy(value) or isinstance(value, np.ufunc) or is_numpy(kind):
            return self._numpy(value)
        if kind in (MethodType, functools.partial, LRU) or hasattr(kind, "__graphopt_inline__"):
            return self._callable(value)
        if kind in FIXED or is_a(value, tuple):
            return self._container(value)
        if is_a(value, STATEFUL) or hasattr(kind, "__next__"):
            raise self.trace.fail(
                f"a {kind.__name__} from outside is not supported in a traced function",
                "Make a list or a dict of it.",
            )
        if isinstance(value, type):
            return value if is_inert(value) else self.shadows.of_class(value)
        return self.shadows.of_object(value) if is_object(value) else value

    def _callable(self, value: Any) -> Any:
        """What wraps a function, over its view."""
        if is_a(value, MethodType):
            return MethodType(self.seen(value.__func__, None), self.seen(value.__self__, None))
        if is_a(value, functools.partial):
            args = [self.seen(item, None) for item in value.args]
            named = {key: self.seen(item, None) for key, item in value.keywords.items()}
            return functools.partial(self.seen(value.func, None), *args, **named)
        return self.seen(value.__wrapped__, None)

    def _numpy(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            check_tensor(value, "an array from outside")
        return numpy_view(self.trace, value)

    def _freezes(self, what: str) -> BaseException:
        return self.trace.fail(
            f"{what} gives something else at each call, which a trace would freeze",
            "Pass the values as an argument.",
        )

    def _module(self, module: ModuleType) -> Any:
        if is_numpy(module) or is_frozen_module(module.__name__):
            return numpy_view(self.trace, module)
        ours = is_internal(module.__dict__.get("__file__") or "")
        return module if ours else ModuleView(self, module)

    def _container(self, value: Any) -> Any:
        kind = class_of(value)
        if is_a(value, tuple):
            items = [self.seen(item, None) for item in value]
            return kind._make(items) if hasattr(kind, "_make") else tuple(items)
        content = value.values() if is_a(value, dict) else value
        if kind in (set, bytearray) or all(type(item) in SCALARS for item in content):
            fixed = FIXED[kind](value.items() if is_a(value, dict) else value)
            self.trace.guard(ContentSource(value), fixed)
            return fixed if kind is bytearray else captured(self.trace, kind, value)
        if kind is list:
            self.trace.guard(LengthSource(value), len(value))
            items = [self.read(ItemSource(value, k), item) for k, item in enumerate(value)]
            return captured(self.trace, list, items)
        self.trace.guard(KeysSource(value), tuple(value))
        pairs = [(key, self.read(ItemSource(value, key), item)) for key, item in value.items()]
        return captured(self.trace, kind, pairs)

    def function(self, function: Any) -> Any:
        """A Python function over the view of its globals and of its enclosing variables."""
        code: CodeType = function.__code__
        if isinstance(function.__globals__, LiveGlobals):
            return function
        if is_internal(code.co_filename) and not is_numpy(function):
            return function
        self._check_assignments(code)
        cells = tuple(map(self._cell, function.__closure__ or (), code.co_freevars))
        made = FunctionType(
            code, self.globals_of(function.__globals__), function.__name__, closure=cells or None
        )
        defaults = function.__defaults__
        made.__defaults__ = defaults and tuple(self.seen(item, None) for item in defaults)
        named = function.__kwdefaults__
        made.__kwdefaults__ = named and {k: self.seen(item, None) for k, item in named.items()}
        made.__qualname__, made.__doc__ = function.__qualname__, function.__doc__
        made.__dict__.update(function.__dict__)
        return made

    def _cell(self, cell: CellType, name: str) -> CellType:
        try:
            value = cell.cell_contents
        except ValueError:
            return CellType()
        if name == "__class__" and isinstance(value, type):
            return CellType(self.shadows.of_class(value))
        made = CellType()  # known before it is filled: a function may enclose itself
        key = ("cell", id(cell))
        if key in self.trace.seen:
            known: CellType = self.trace.seen[key]
            return known
        self.trace.seen[key] = made
        self.trace.kept.append(cell)
        made.cell_contents = self.read(CellSource(cell, name), value)
        return made

    def _check_assignments(self, code: CodeType) -> None:
        found = assignment(code)
        if found is not None:
            name, place = found
            raise self.trace.fail(
                f"assigning {name}, which lives outside the function, is not supported yet",
                "The function is traced once, so this would be done once, not at each call.",
                "Return the new value instead.",
                place=place,
            )
