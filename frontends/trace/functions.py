"""`graphopt.function`: a Python function of arrays, traced and compiled at its calls.

A trace is kept for each signature: the form of the arguments, their shapes and dtypes, the values
of static ones, and what the function read from outside. `graphopt.frontends.trace.calls` makes the
code of a call that finds the kept one.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from threading import RLock
from types import MethodType
from typing import Any, overload

import numpy as np

from graphopt.api import LayoutName, collector_paused, optimize
from graphopt.api import compile as compile_graph
from graphopt.backends.executable import BACKENDS, Executable
from graphopt.errors import UsageError, nearest
from graphopt.frontends.trace.arguments import Leaf, Parameters, as_array, describe
from graphopt.frontends.trace.calls import MISS, Pattern, call_code, entry_code
from graphopt.frontends.trace.errors import Specialise, TraceError
from graphopt.frontends.trace.lowered import Lowered
from graphopt.frontends.trace.places import users_traceback
from graphopt.frontends.trace.retraces import History
from graphopt.frontends.trace.run import Traced, trace_function
from graphopt.frontends.trace.sources import read
from graphopt.frontends.trace.specs import TensorSpec
from graphopt.frontends.trace.trace import active
from graphopt.frontends.trace.tree import Tree, flatten
from graphopt.graph import Graph

MAX_PATTERNS = 8
"""How many kinds of calls have code of their own; others are looked up by the general way."""
MAX_TRACES = 256
"""How many traces a function keeps; when there are more, all are forgotten."""


@dataclass(frozen=True)
class Options:
    """How a function is compiled."""

    backend: str = "numpy"
    math: Any = "default"
    threads: int | None = None
    static_argnames: tuple[str, ...] = ()
    input_signature: tuple[Any, ...] | None = None


@dataclass(frozen=True, eq=False)
class Call:
    """The arguments of one call: one value for each parameter, and taken apart."""

    values: tuple[Any, ...]
    items: list[Any]
    leaves: list[Leaf]
    tree: Tree
    names: list[str]

    @property
    def passed(self) -> list[Any]:
        """The leaves that an entry takes."""
        pairs = zip(self.items, self.leaves, strict=True)
        return [value for value, leaf in pairs if leaf.kind not in ("value", "object")]

    @property
    def key(self) -> tuple[Any, ...]:
        """What a trace for this call is kept under."""
        return (self.tree, tuple(leaf.key for leaf in self.leaves))


class Function:
    """A traced function; call it as the function. See `graphopt.function`.

    Each has a class of its own, whose `__call__` is the code made for its calls.
    """

    __graphopt_inline__ = True
    __name__: str
    __wrapped__: Callable[..., Any]

    def __init__(self, function: Callable[..., Any], options: Options) -> None:
        functools.update_wrapper(self, function)
        self.python = function
        self.options = options
        self.parameters = Parameters(function, options.static_argnames)
        self.history = History()
        self._name = getattr(function, "__name__", "function").strip("<>")
        self._lock = RLock()
        self._entries: dict[Any, list[Callable[..., Any]]] = {}
        self._traces: dict[Any, list[Traced]] = {}
        self._executables: dict[Traced, Executable] = {}
        self._special: dict[Tree, frozenset[int]] = {}
        self._patterns: dict[Any, Pattern] = {}
        self._signature: tuple[list[Any], Tree] | None = None
        if options.input_signature is not None:
            self._signature = flatten(options.input_signature)
            if not all(isinstance(spec, TensorSpec) for spec in self._signature[0]):
                raise UsageError("a signature is made of TensorSpecs", at="input_signature")
        self._renew()

    def _renew(self) -> None:
        """Make the code of a call anew, for the patterns that are known."""
        patterns = list(self._patterns.values())
        call = call_code(self.parameters, patterns, self._slow, self._name)
        type(self).__call__ = staticmethod(call)  # type: ignore[method-assign]  # pyright: ignore  # that is how calls are fast

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError("each function's class has its own")

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else MethodType(self, instance)

    def _slow(self, values: tuple[Any, ...]) -> Any:
        """A call that no code is made for yet; errors of the trace are shown without its frames."""
        try:
            return self._search(values)
        except TraceError as error:
            raise error.with_traceback(users_traceback(error.__traceback__)) from None

    def _search(self, values: tuple[Any, ...]) -> Any:
        """Find the entry for a call, or make it, and run it."""
        trace: Any = active()
        if trace is not None:
            return self.parameters.call(trace.viewer.seen(self.python, None), values)
        tried: list[Entry] = []
        while len(tried) < MAX_TRACES:
            call = self._call(values)
            fresh = [entry for entry in self._entries.get(call.key, ()) if entry not in tried]
            for entry in fresh:
                made = entry(*call.passed)
                if made is not MISS:
                    return made
            tried += fresh
            with self._lock, collector_paused():
                call = self._call(values)  # another thread may have made what is missing
                if all(entry in tried for entry in self._entries.get(call.key, ())):
                    self._make(call)
        text = "what the function reads from outside changes each time that it is traced"
        raise UsageError(text, at=self._name)

    def _call(self, values: Sequence[Any]) -> Call:
        """The arguments taken apart; numbers whose values are known to be needed are static."""
        items, tree, names = self.parameters.flatten(values)
        static = self.parameters.is_static
        items = [v if static(path) else as_array(v) for v, path in zip(items, names, strict=True)]
        leaves = self._leaves(items, names, self._special.get(tree, frozenset()))
        return Call(tuple(values), items, leaves, tree, names)

    def _leaves(self, items: list[Any], names: list[str], known: frozenset[int]) -> list[Leaf]:
        static = self.parameters.is_static
        return [
            describe(value, path, static(path), position in known)
            for position, (value, path) in enumerate(zip(items, names, strict=True))
        ]

    def _make(self, call: Call) -> None:
        """Trace and compile for a call; a number whose value is needed is static from now on."""
        traced, call = self._traced(call)
        executable = self._compiled(traced)
        program = executable.prepare(*arrays_of(traced, call.items)) or executable
        entry = entry_code(traced, program, executable.graph.outputs, call.leaves)
        if sum(map(len, self._entries.values())) >= MAX_TRACES:
            self._entries, self._patterns, self._traces = {}, {}, {}
        self._entries.setdefault(call.key, []).insert(0, entry)
        self._traces.setdefault(call.key, []).insert(0, traced)
        pattern = Pattern(call.tree, call.leaves, call.items)
        pattern = self._patterns.get(pattern.shape, pattern)
        pattern.table[pattern.key(call.items)] = entry
        if pattern.shape not in self._patterns and len(self._patterns) < MAX_PATTERNS:
            self._patterns[pattern.shape] = pattern
            self._renew()

    def _compiled(self, traced: Traced) -> Executable:
        """The executable of a trace; with an input signature, all calls share one."""
        known = self._executables.get(traced)
        if known is None:
            graph = optimize(traced.graph, "O2", math=self.options.math)
            layout: LayoutName = "keep" if self.options.math == "strict" else "auto"
            known = compile_graph(
                graph, self.options.backend, threads=self.options.threads, layout=layout
            )
            if self._signature is not None:
                self._executables[traced] = known
        return known

    def _traced(self, call: Call) -> tuple[Traced, Call]:
        """The trace for a call, and the call with the numbers static whose values were needed."""
        if self._signature is not None:
            return self._traced_for_signature(call), call
        while True:
            try:
                traced = trace_function(
                    self.python, self.parameters, call.items, call.leaves, call.tree, self._name
                )
            except Specialise as needed:
                self.history.specialised(call.leaves, needed.leaves, needed.why)
                known = self._special.get(call.tree, frozenset())
                self._special[call.tree] = known | needed.leaves
                call = self._call(call.values)
                continue
            self.history.traced(call.leaves, self._traces.get(call.key, ()))
            return traced, call

    def _traced_for_signature(self, call: Call) -> Traced:
        """The one trace for an input signature; raises UsageError for other arguments."""
        assert self._signature is not None
        specs, _ = self._signature
        if len(specs) != len(call.items):
            text = f"{len(call.items)} arrays where the signature has {len(specs)}"
            raise UsageError(text, at=self._name)
        for spec, leaf, value in zip(specs, call.leaves, call.items, strict=True):
            spec.check(value, leaf.path)
        known = next(iter(self._traces.values()), None)
        if known:
            return known[0]
        made = [
            describe(spec, leaf.path, False, False)
            for spec, leaf in zip(specs, call.leaves, strict=True)
        ]
        traced = trace_function(self.python, self.parameters, specs, made, call.tree, self._name)
        self.history.traced(made, ())
        return traced

    def graph(self, *args: Any, **kwargs: Any) -> Graph:
        """The graph for these arguments (arrays, or a TensorSpec in place of one), not optimized.

        Arrays from outside are inputs of it, with what they hold now as default. Outputs named
        `x.after` are the new contents of arguments that the function writes to.
        """
        return self.lower(*args, **kwargs).graph

    @collector_paused()
    def lower(self, *args: Any, **kwargs: Any) -> Lowered:
        """The function traced for these arguments (arrays, or a TensorSpec in place of one)."""
        values = self.parameters.bind(args, kwargs)
        call = self._call(values)
        known: frozenset[int] = frozenset()
        while True:
            try:
                traced = trace_function(
                    self.python, self.parameters, call.items, call.leaves, call.tree, self._name
                )
                return Lowered(traced, self.parameters, tuple(call.leaves), call.tree)
            except Specialise as needed:
                known |= needed.leaves
                leaves = self._leaves(call.items, call.names, known)
                call = Call(call.values, call.items, leaves, call.tree, call.names)

    def to_onnx(self, path: str | PathLike[str], *args: Any, **kwargs: Any) -> None:
        """Write the optimized graph for these arguments or TensorSpecs as an ONNX model.

        Its inputs are called as the parameters, its outputs `output` and by their places in it
        (`output.0`), or by the keys of the dict that is returned; the new content of an argument
        that the function writes to is an output `x.after`. Sizes that a TensorSpec names stand in
        the model by their names, arrays from outside as initializers with what they hold now.
        What is returned beside arrays and numbers is left out. Raises UnsupportedError, with the
        line, for what has no form in ONNX, and what `graphopt.save` raises.
        """
        from graphopt.api import save
        from graphopt.frontends.trace.portable import portable

        traced = self.lower(*args, **kwargs).traced
        doc = inspect.getdoc(self.python) or ""
        save(portable(traced, math=self.options.math, doc=doc), path)

    def kept(self) -> tuple[list[Pattern], list[list[Traced]]]:
        """The kinds of calls that have code of their own, and the traces by their signature."""
        return list(self._patterns.values()), list(self._traces.values())

    @property
    def retraces(self) -> int:
        """How many traces were made beyond the first."""
        return max(self.history.count - 1, 0)

    def explain_retraces(self) -> str:
        """Why each trace was made, one a line."""
        return str(self.history)

    def __repr__(self) -> str:
        return f"<graphopt.function {self._name} on {self.options.backend}>"


Entry = Callable[..., Any]


def arrays_of(traced: Traced, items: Sequence[Any]) -> list[Any]:
    """An array for each input of a traced function."""
    made: list[Any] = []
    for item in traced.inputs:
        if item.leaf is None:
            made.append(read(item.source) if item.source is not None else None)
        elif item.number:
            made.append(np.array(items[item.leaf], item.node.dtype.numpy))
        else:
            made.append(np.asarray(items[item.leaf]))
    return made


@overload
def function(
    python: Callable[..., Any],
    *,
    backend: str = ...,
    math: str = ...,
    threads: int | None = ...,
    static_argnames: Sequence[str] | str = ...,
    input_signature: Sequence[Any] | None = ...,
) -> Function: ...
@overload
def function(
    *,
    backend: str = ...,
    math: str = ...,
    threads: int | None = ...,
    static_argnames: Sequence[str] | str = ...,
    input_signature: Sequence[Any] | None = ...,
) -> Callable[[Callable[..., Any]], Function]: ...
def function(
    python: Callable[..., Any] | None = None,
    *,
    backend: str = "numpy",
    math: str = "default",
    threads: int | None = None,
    static_argnames: Sequence[str] | str = (),
    input_signature: Sequence[Any] | None = None,
) -> Any:
    """Compile a Python function of NumPy arrays; used as a decorator, bare or with options.

        @graphopt.function
        def f(x, w):
            return np.maximum(x @ w, 0)

    The function runs once for each signature of its arguments (shapes, dtypes, the form of lists,
    tuples, dicts and dataclasses, values of static arguments) on traced arrays; what it computes is
    optimized with `math` and compiled for `backend` on `threads` threads. Numbers are traced unless
    their value is needed. `static_argnames` are parameters whose whole argument is static;
    `input_signature` gives a TensorSpec for each array, so that there is one trace.

    A call does what the function does: arrays that it writes to as a whole are written to, arrays
    that it reads from outside are read anew, and other things that it read are checked. What it
    returns never shares memory with an argument. Raises TraceError, with the line, for what cannot
    be traced, and UsageError for options that make no sense.
    """
    names = (static_argnames,) if isinstance(static_argnames, str) else tuple(static_argnames)
    signature = None if input_signature is None else tuple(input_signature)
    options = Options(backend, math, threads, names, signature)

    def decorate(wrapped: Callable[..., Any]) -> Function:
        return _new(wrapped, options)

    return decorate if python is None else decorate(python)


def _new(python: Callable[..., Any], options: Options) -> Function:
    if not callable(python):
        raise UsageError(f"{python!r} cannot be called", at="function")
    if options.backend not in BACKENDS:
        raise UsageError(
            f"no backend is called {options.backend!r}{nearest(options.backend, list(BACKENDS))}",
            at="backend",
        )
    kind = type("Function", (Function,), {"__doc__": Function.__doc__})
    made: Function = kind(python, options)
    return made


def constant(array: Any) -> Any:
    """A read-only copy of an array: a traced function that reads it takes it for a constant."""
    made = np.array(array)
    made.flags.writeable = False
    return made
