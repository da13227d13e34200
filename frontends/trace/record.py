"""What NumPy's functions do to traced values: the library's nodes, recorded with their place.

Where everything that a call needs is known, NumPy itself is called. Where the library has no form
of a function that NumPy has written in Python, that is traced.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphopt.dims import Dim, Size
from graphopt.errors import GraphoptError
from graphopt.frontends.trace import library, writes
from graphopt.frontends.trace.array import Doubt, TracedArray
from graphopt.frontends.trace.catalogue import ARRAYS, COPIES, DOUBTFUL, VIEWS, WRITERS, names_of
from graphopt.frontends.trace.errors import TraceError
from graphopt.frontends.trace.kinds import class_of, is_a
from graphopt.frontends.trace.library.nodes import size_node
from graphopt.frontends.trace.library.operands import WeakScalar, cast
from graphopt.frontends.trace.number import TracedNumber
from graphopt.frontends.trace.parts import deeply, outputs_of
from graphopt.frontends.trace.places import user_place
from graphopt.frontends.trace.sources import Source
from graphopt.frontends.trace.special import SPECIAL
from graphopt.frontends.trace.trace import Buffer, Trace, is_frozen
from graphopt.ir import Node
from graphopt.ops.shape import squeeze
from graphopt.structural import constant

if TYPE_CHECKING:
    from graphopt.frontends.trace.live import Viewer

Array = Any
DEEP = 20
"""How many of NumPy's own functions may be traced inside each other."""
SIMPLE = (int, float, bool, complex, str, type(None))
PLAIN_ERRORS = (TypeError, ValueError, ArithmeticError, LookupError)
BOTH = ("real", "imag")
"""Ufuncs from NumPy 2.5 on, before that functions like any other."""
IGNORED = ("order", "subok", "like", "device")
"""Arguments that say nothing about the values."""


class Recorder(Trace):
    """A trace that NumPy's functions can be applied in. `viewer` gives the views of functions."""

    viewer: Viewer

    def ufunc(self, ufunc: Any, method: str, inputs: tuple[Any, ...], kwargs: Any) -> Any:
        """A ufunc or one of its methods on operands of which some are traced."""
        if ufunc.__name__ in BOTH:
            return self.function(ufunc, inputs, kwargs)
        if not kwargs and method == "__call__":
            return self._plain(ufunc, inputs)
        options = {key: value for key, value in kwargs.items() if key not in IGNORED}
        out = outputs_of(options.pop("out", None))
        if not self.any_traced((inputs, options, out)):
            return self.known(getattr(ufunc, method), inputs, kwargs, out)
        name: str = ufunc.__name__
        if method in ("at", "reduceat"):
            raise self.fail(f"numpy.{name}.{method} is not supported")
        self.check_integers(name, inputs)
        where = options.pop("where", True) if method == "__call__" else True
        if where is not True and not out:
            raise self.fail(f"numpy.{name}(where=...) without out= leaves elements undefined")
        with self.located():
            function = self._form(name, method)
            made = function(*self.operands(inputs), **self.operands(options))
        if not out:
            return self.wrap(made)
        casting = options.get("casting", "same_kind")
        return writes.outputs(self, name, out, made, casting, where)

    def _plain(self, ufunc: Any, inputs: tuple[Any, ...]) -> Any:
        """A ufunc without options: what nearly every line of a program is made of."""
        if not any(map(self.any_traced, inputs)):
            return self.known(ufunc, inputs, {}, ())
        name: str = ufunc.__name__
        if any(type(item) is TracedNumber for item in inputs):
            self.check_integers(name, inputs)
        with self.located():
            function = library.UFUNCS.get(name) or self._form(name, "__call__")
            made = function(*[self.operands(item) for item in inputs])
        return self.wrap(made)

    def _form(self, name: str, method: str) -> Callable[..., Any]:
        tables = {
            "__call__": library.UFUNCS,
            "reduce": library.REDUCTIONS,
            "accumulate": library.ACCUMULATIONS,
        }
        if method == "outer":
            return lambda *args, **kwargs: library.outer(name, *args, **kwargs)
        function = tables[method].get(name) if method in tables else None
        if function is None:
            suffix = "" if method == "__call__" else f".{method}"
            raise self.fail(f"numpy.{name}{suffix} is not supported")
        return function

    def function(self, function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """A function of NumPy on arguments of which some may be traced."""
        special = SPECIAL.get(id(function))
        if special is not None:
            made = special(self, *args, **kwargs)
            if made is not NotImplemented:
                return made
        kwargs = {key: value for key, value in kwargs.items() if key != "like"}
        out = outputs_of(kwargs.get("out"))
        if not self.any_traced((args, kwargs)):
            kwargs.pop("out", None)
            return self.known(function, args, kwargs, out)
        names = names_of(function)
        if WRITERS.intersection(names):
            raise self.fail(f"numpy.{names[0]} writes to an array, which is not supported")
        name = next((n for n in names if n in library.FUNCTIONS or n in library.CREATION), None)
        if name is None:
            return self._own_implementation(function, names[0], args, kwargs)
        if not out:
            return self._listed(name, args, kwargs)
        made = self._listed(name, args, {k: v for k, v in kwargs.items() if k != "out"})
        return writes.outputs(self, name, out, self.operands(made), "same_kind", True)

    def _listed(self, name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """A function that the library has."""
        form = library.FUNCTIONS.get(name) or library.CREATION[name]
        with self.located():
            self.check_counts((args, kwargs))
            operands, options = self.operands(tuple(args)), self.operands(kwargs)
            made = form(*operands, **options)
        if name in VIEWS and args and type(args[0]) is TracedArray and isinstance(made, Node):
            return self.view(args[0], made, lambda node: form(node, *operands[1:], **options))
        same = name not in COPIES and any(made is item for item in operands)
        if name in DOUBTFUL or same:  # numpy.diff(x, n=0) is x
            return self.wrap(made, scalars=False, doubts=tuple(self._doubts((args, kwargs))))
        return self.wrap(made, scalars=name not in ARRAYS and name not in VIEWS)

    def _own_implementation(self, function: Any, name: str, args: Any, kwargs: Any) -> Any:
        """A function that NumPy has written in Python, traced."""
        written = getattr(function, "_implementation", function)
        if not hasattr(written, "__code__") or self.deep >= DEEP:
            raise self.fail(f"numpy.{name} is not supported on traced arrays")
        before = self.failure
        self.deep += 1
        try:
            return self.viewer.function(written)(*args, **kwargs)
        except TraceError as error:
            self.failure = before
            text = f"numpy.{name} is not supported on these arguments"
            if self.deep > 1:
                raise
            raise self.fail(text, f"Inside it: {error.message}.") from None
        except (AttributeError, NotImplementedError) as error:
            raise self.fail(f"numpy.{name} is not supported", f"Inside it: {error}.") from None
        finally:
            self.deep -= 1

    def known(self, function: Any, args: Any, kwargs: Any, out: tuple[Any, ...]) -> Any:
        """NumPy's own result, where all arguments are known."""
        arrays: dict[int, TracedArray] = {}
        options = self.statics(kwargs, arrays)
        if out:
            given = tuple(None if item is None else self.statics(item, arrays) for item in out)
            (first, *more) = given
            options["out"] = given if more or isinstance(function, np.ufunc) else first
        try:
            made = function(*self.statics(tuple(args), arrays), **options)
        finally:
            written = [*out, *(list(args)[:1] if WRITERS.intersection(names_of(function)) else [])]
            for item in written:
                if type(item) is TracedArray:
                    item.buffer.touch()
        return self._known_result(made, arrays, function, args, kwargs)

    def _known_result(
        self, made: Any, arrays: dict[int, TracedArray], function: Any, args: Any, kwargs: Any
    ) -> Any:
        if type(made) is np.ndarray:
            if id(made) in arrays:
                return arrays[id(made)]
            for array in arrays.values():
                if np.may_share_memory(made, array.static) and made.size:
                    return array.view_by(self._again(function, array, args, kwargs), static=made)
            return TracedArray(self, Buffer(made))
        if type(made) in (tuple, list):
            parts = [self._known_result(m, arrays, function, args, kwargs) for m in made]
            return parts if type(made) is list else tuple(parts)
        return self.wrap(made)

    def _again(
        self, function: Any, base: TracedArray, args: Any, kwargs: Any
    ) -> Callable[[Node], Node]:
        """How a view that NumPy made is read when its base is traced by then."""
        if len(args) == 0 or args[0] is not base:
            return lambda node: self._no_step()

        def step(node: Node) -> Node:
            base_now = TracedArray(self, Buffer(node))
            made = self.function(function, (base_now, *args[1:]), dict(kwargs))
            return made.node if type(made) is TracedArray else self._no_step()

        return step

    def _no_step(self) -> Node:
        raise self.fail("a view of an array that was written to is not supported here")

    def view(
        self, base: TracedArray, made: Node, step: Callable[[Node], Node], scalar: bool = False
    ) -> TracedArray:
        """A view of an array, whose content now is `made`."""
        self.record([made])
        if scalar:
            return TracedArray(self, Buffer(made), scalar=True)
        return base.view_by(step, content=made)

    def wrap(self, made: Any, *, scalars: bool = True, doubts: tuple[Doubt, ...] = ()) -> Any:
        """What the library or NumPy gave, as the traced function sees it."""
        if isinstance(made, Node):
            if made.constant is not None and not scalars and not doubts:
                return TracedArray(self, Buffer.of_constant(made))
            self.record([made])
            scalar = scalars and made.rank == 0
            return TracedArray(self, Buffer(made), scalar=scalar, doubts=doubts)
        if isinstance(made, WeakScalar):
            self.record([made.node])
            return TracedNumber(self, made.node)
        if type(made) is np.ndarray:
            return TracedArray(self, Buffer(made))
        if isinstance(made, Dim):
            return self.size(made)
        if is_a(made, tuple | list):
            parts: Iterable[Any] = [self.wrap(m, scalars=scalars, doubts=doubts) for m in made]
            if hasattr(class_of(made), "_make"):
                return class_of(made)(*parts)
            return parts if is_a(made, list) else tuple(parts)
        return made

    def operands(self, value: Any) -> Any:
        """A value with nodes, known arrays and weak scalars in place of what is traced."""
        kind = class_of(value)
        if kind in SIMPLE:
            return value
        if kind is TracedArray:
            static = value.static
            return value.node if static is None else static
        if kind is TracedNumber:
            return WeakScalar(value.node)
        if kind is np.ndarray:
            return value if is_frozen(value) else self.capture(value, Source(value)).node
        return deeply(self.operands, value)

    def statics(self, value: Any, arrays: dict[int, TracedArray]) -> Any:
        """A value with NumPy's arrays in place of known ones, which are noted."""
        if type(value) is TracedArray:
            static = value.static
            assert static is not None
            arrays.setdefault(id(static), value)
            return static[()] if value.scalar else static
        return deeply(lambda item: self.statics(item, arrays), value)

    def any_traced(self, value: Any) -> bool:
        """Whether anything in a value is traced or comes from outside."""
        kind = class_of(value)
        if kind is TracedArray:
            return value.static is None
        if kind in SIMPLE:
            return False
        if kind is TracedNumber:
            return True
        if kind is np.ndarray:
            return not is_frozen(value)
        if is_a(value, list | tuple):
            return any(map(self.any_traced, value))
        if kind is slice:
            return any(map(self.any_traced, (value.start, value.stop, value.step)))
        return is_a(value, dict) and any(map(self.any_traced, value.values()))

    def _doubts(self, value: Any) -> Generator[Doubt]:
        """The marks of all arrays in a value."""
        if type(value) is TracedArray:
            yield from value.doubt()
        elif is_a(value, list | tuple | dict):
            parts: Any = value.values() if is_a(value, dict) else value
            for part in parts:
                yield from self._doubts(part)

    def check_integers(self, name: str, inputs: Sequence[Any]) -> None:
        """Ask for the value of a Python int that NumPy checks at each call.

        It must fit a small dtype, and not be negative as an exponent of integers.
        """
        for number in inputs:
            if type(number) is TracedNumber and number.node.dtype.kind == "i" and not number.dim:
                others = [item.dtype for item in inputs if type(item) is TracedArray]
                checked = (
                    d for d in others if d.kind in "iu" and (d != np.int64 or name == "power")
                )
                if any(True for _ in checked):
                    number.value("the value of a number, beside small integers,")

    def check_counts(self, value: Any) -> None:
        """Ask for the value of every Python int: in a function it is mostly a size or an axis."""
        if type(value) is TracedNumber:
            if value.node.dtype.kind == "i" and value.dim is None:
                value.value("a number used as an axis, a size or a count")
        elif is_a(value, list | tuple | dict):
            parts: Any = value.values() if is_a(value, dict) else value
            for part in parts:
                self.check_counts(part)

    def size(self, size: Size) -> Any:
        """A size as the traced function sees it."""
        if isinstance(size, int):
            return size
        key = ("size", size)
        if key not in self.seen:
            with self.located():
                nodes = [item.node for item in self.inputs]
                node: Node = squeeze(size_node(size, nodes), constant([0]))
            self.seen[key] = TracedNumber(self, node, size)
        return self.seen[key]

    def number_of(self, size: Size, what: str) -> int:
        """A size that must be a number; raises TraceError."""
        if isinstance(size, int):
            return size
        raise self.fail(
            f"{what} ({size}) is not known while the function is traced",
            "Give the size as a number in the TensorSpec.",
        )

    def cast(self, array: TracedArray, dtype: Any) -> TracedArray:
        """A copy as another dtype."""
        static = array.static
        if static is not None:
            return TracedArray(self, Buffer(static.astype(dtype)), scalar=array.scalar)
        with self.located():
            node = cast(array.node, dtype)
        self.record([node])
        return TracedArray(self, Buffer(node), scalar=array.scalar)

    def getitem(self, array: TracedArray, index: Any) -> Any:
        """array[index]."""
        return writes.getitem(self, array, index)

    def setitem(self, array: TracedArray, index: Any, value: Any) -> None:
        """array[index] = value."""
        writes.setitem(self, array, index, value)

    def leak(self, node: Node) -> BaseException:
        """What to raise where a function that cannot be traced asks for an array's content."""
        place = user_place()
        text = place.expression.strip()
        called = f" by {text}" if text and "\n" not in text else ""
        return self.fail(
            f"the content of a traced array is asked for{called}",
            self.origin(node),
            "Only NumPy's functions and functions written in Python can be traced.",
            place=place,
        )

    def located(self) -> Located:
        """Errors of the library in a `with` of this get the user's line."""
        return Located(self)


class Located:
    """See `Recorder.located`. Plain methods: a generator's frames would stand for the user's."""

    __slots__ = ("trace",)

    def __init__(self, trace: Recorder) -> None:
        self.trace = trace

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, TraceError):
            return
        if isinstance(error, GraphoptError):
            raise self.trace.refused(error) from None
        if isinstance(error, PLAIN_ERRORS):
            place = user_place()
            error.add_note(f"{place}\n{place.caret()}")
