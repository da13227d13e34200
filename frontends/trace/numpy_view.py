"""NumPy as a traced function sees it: the same names, whose functions also take traced values.

Nothing in NumPy is changed: a view stands for a module, function, ufunc or class of it.
"""

from __future__ import annotations

import operator
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from graphopt.frontends.trace.array import TracedArray
from graphopt.frontends.trace.catalogue import is_frozen_module, is_numpy
from graphopt.frontends.trace.kinds import is_a, is_kind
from graphopt.frontends.trace.number import TracedNumber
from graphopt.frontends.trace.trace import Buffer
from graphopt.frontends.trace.writes import parts_of, settled

if TYPE_CHECKING:
    from graphopt.frontends.trace.record import Recorder


class NumpyModule(ModuleType):
    """A module of NumPy."""

    def __init__(self, trace: Recorder, module: ModuleType) -> None:
        super().__init__(module.__name__, module.__doc__)
        own = ModuleType.__getattribute__(self, "__dict__")
        own.update(_trace=trace, _module=module, _known={})

    def __getattribute__(self, name: str) -> Any:
        own = ModuleType.__getattribute__(self, "__dict__")
        if name == "__dict__":
            return own["_module"].__dict__
        if name == "__class__":
            return ModuleType
        known: dict[str, Any] = own["_known"]
        if name not in known:
            known[name] = own["_trace"].viewer.seen(getattr(own["_module"], name), None)
        return known[name]

    def __setattr__(self, name: str, value: Any) -> None:
        trace: Recorder = ModuleType.__getattribute__(self, "__dict__")["_trace"]
        raise trace.fail(f"setting numpy.{name} is not supported")

    def __dir__(self) -> list[str]:
        return dir(ModuleType.__getattribute__(self, "__dict__")["_module"])


class Standing:
    """What stands for an object of NumPy; equal to it, and with its attributes."""

    __slots__ = ("_real", "_trace")
    _real: Any
    _trace: Recorder

    def __init__(self, trace: Recorder, real: Any) -> None:
        self._trace = trace
        self._real = real

    def graphopt_real(self) -> Any:
        """The object."""
        return self._real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def __eq__(self, other: object) -> bool:
        return bool(self._real == (other._real if isinstance(other, Standing) else other))

    def __hash__(self) -> int:
        return hash(self._real)

    def __repr__(self) -> str:
        return repr(self._real)


class FunctionView(Standing):
    """A function of NumPy."""

    __slots__ = ()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._trace.closed:
            return self._real(*args, **kwargs)
        return self._trace.function(self._real, args, kwargs)


class UfuncView(Standing):
    """A ufunc of NumPy."""

    __slots__ = ()

    @property  # type: ignore[misc]  # isinstance(x, np.ndarray) must hold in the program
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return np.ufunc

    def _apply(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._trace.closed:
            return getattr(self._real, method)(*args, **kwargs)
        count = self._real.nin
        if method == "__call__" and len(args) > count:  # np.add(x, y, out)
            kwargs = {**kwargs, "out": args[count:]}
            args = args[:count]
        return self._trace.ufunc(self._real, method, args, kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._apply("__call__", args, kwargs)

    def reduce(self, array: Any, *args: Any, **kwargs: Any) -> Any:
        """As numpy.ufunc.reduce."""
        names = ("axis", "dtype", "out", "keepdims", "initial", "where")
        return self._apply("reduce", (array,), {**dict(zip(names, args, strict=False)), **kwargs})

    def accumulate(self, array: Any, *args: Any, **kwargs: Any) -> Any:
        """As numpy.ufunc.accumulate."""
        named = {**dict(zip(("axis", "dtype", "out"), args, strict=False)), **kwargs}
        return self._apply("accumulate", (array,), named)

    def outer(self, a: Any, b: Any, **kwargs: Any) -> Any:
        """As numpy.ufunc.outer."""
        return self._apply("outer", (a, b), kwargs)

    def at(self, *args: Any, **kwargs: Any) -> Any:
        """As numpy.ufunc.at."""
        return self._apply("at", args, kwargs)

    def reduceat(self, *args: Any, **kwargs: Any) -> Any:
        """As numpy.ufunc.reduceat."""
        return self._apply("reduceat", args, kwargs)


class TypeView(Standing):
    """A class of NumPy: a scalar's, which casts what is traced, or ndarray."""

    __slots__ = ()

    @property
    def dtype(self) -> Any:
        """What numpy.dtype takes this for."""
        real: Any = self._real
        return np.dtype(real) if is_kind(real, np.generic) else real.dtype

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        trace, real = self._trace, self._real
        if trace.closed:
            return real(*args, **kwargs)
        if real is np.ndarray:
            return self._new_array(*args, **kwargs)
        if len(args) == 1 and not kwargs and trace.any_traced(args):
            value = args[0]
            with trace.located():
                array = value if type(value) is TracedArray else trace.function(np.array, args, {})
            cast = trace.cast(array, self.dtype)
            return TracedArray(trace, cast.buffer, scalar=not cast.kind[0])
        return trace.known(real, args, kwargs, ())

    def _new_array(self, shape: Any, dtype: Any = float, buffer: Any = None, **kwargs: Any) -> Any:
        if buffer is not None or kwargs:
            raise self._trace.fail("numpy.ndarray(...) is supported with a shape and a dtype alone")
        return self._trace.function(np.zeros, (shape, dtype), {})

    def __instancecheck__(self, value: Any) -> bool:
        return isinstance(value, self._real)

    def __subclasscheck__(self, kind: type) -> bool:
        return issubclass(getattr(kind, "_real", kind), self._real)

    def __or__(self, other: Any) -> Any:
        return self._real | (other._real if isinstance(other, TypeView) else other)

    def __mro_entries__(self, bases: Any) -> tuple[type, ...]:
        return (self._real,)


class GridView(Standing):
    """np.mgrid, ogrid, r_, c_, s_: indexed by what is known."""

    __slots__ = ()

    def __getitem__(self, index: Any) -> Any:
        trace = self._trace
        if self._real in (np.s_, np.index_exp):
            return self._real[index]
        parts = tuple(settled(trace, part) for part in parts_of(index))
        index = parts if isinstance(index, tuple) else parts[0]
        if trace.any_traced(index):
            raise trace.fail(
                "numpy's r_, c_, mgrid and ogrid of traced values are not supported",
                "Write np.concatenate, np.stack or np.meshgrid.",
            )
        return trace.known(operator.getitem, (self._real, index), {}, ())


GRIDS = (np.mgrid, np.ogrid, np.r_, np.c_, np.s_, np.index_exp)
BUILTIN = type(len)


def numpy_view(trace: Recorder, value: Any) -> Any:
    """What a traced function sees for an object of NumPy's."""
    if isinstance(value, ModuleType):
        if is_frozen_module(value.__name__):
            raise trace.fail(
                f"{value.__name__} gives other numbers at each call, which a trace would freeze",
                "Pass the random numbers as an argument.",
            )
        return NumpyModule(trace, value) if is_numpy(value) else value
    if isinstance(value, np.ufunc):
        return UfuncView(trace, value)
    if is_a(value, type):
        viewed = is_kind(value, np.generic) or value is np.ndarray
        return TypeView(trace, value) if viewed else value
    if any(value is grid for grid in GRIDS):
        return GridView(trace, value)
    if type(value) is np.ndarray:
        return TracedArray(trace, Buffer(value))
    if callable(value) and not isinstance(value, type) and _is_function(value):
        return FunctionView(trace, value)
    return value


def _is_function(value: Any) -> bool:
    module = getattr(value, "__module__", None)
    if isinstance(getattr(value, "__self__", None), np.random.RandomState | np.random.Generator):
        return False
    return isinstance(module, str) and is_numpy(value) and not module.startswith("numpy.testing")


__all__ = ["TracedNumber", "numpy_view"]
