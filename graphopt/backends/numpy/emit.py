"""From steps to Python source: a line a call, over names that are bound to arrays once.

Memory whose place is known (the arena, constants) is bound to a name beforehand; inputs, and what
calls return, are variables. The source is made of numbers and names of our own only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

import numpy as np

from graphopt.backends.numpy.block import Call, Ref, refs_in
from graphopt.backends.numpy.steps import Recording

FILE = "<graphopt numpy program>"
STEPS = "__steps__"
"""The global of a program's functions that tells what step each line belongs to."""
Binder = Callable[[Ref], Any]
"""The array that a ref with a place is, in some arena."""


@dataclass
class Emitter:
    """Writes the source of a recording, and notes what its names stand for.

    `shared` are names for what all instances have in common, `placed` names for refs that each
    binds to its own arena.
    """

    recording: Recording
    shared: dict[str, Any] = field(default_factory=dict[str, Any])
    placed: dict[str, Ref] = field(default_factory=dict[str, Ref])
    _names: dict[int, str] = field(default_factory=dict[int, str])
    _kept: list[Any] = field(default_factory=list[Any])  # what `_names` has ids of

    def name(self, value: Any) -> str:
        """A name for a value that all instances share."""
        if value is None or value is True or value is False:
            return repr(value)
        if type(value) is int:
            return repr(value) if value >= 0 else f"({value})"
        found = self._names.get(id(value))
        if found is None:
            found = self._names[id(value)] = f"k{len(self._kept)}"
            self._kept.append(value)
            self.shared[found] = value
        return found

    def place(self, ref: Ref) -> str:
        """A name for a ref in the arena."""
        found = self._names.get(id(ref))
        if found is None:
            found = self._names[id(ref)] = f"a{len(self._kept)}"
            self._kept.append(ref)
            self.placed[found] = ref
        return found

    def variable(self, ref: Ref) -> str:
        """The variable of a buffer that has no place."""
        found = self._names.get(id(ref.buffer))
        if found is None:
            found = self._names[id(ref.buffer)] = f"v{len(self._kept)}"
            self._kept.append(ref.buffer)
        return found

    def argument(self, value: Any, lines: list[str]) -> str:
        """An argument as source; what must be computed before goes to `lines`."""
        if isinstance(value, Ref):
            if value.buffer.kind == "temp":
                return self.place(value)
            if value.buffer.kind == "constant":
                return self.name(value.meta)
            return self._part(value, lines)
        if type(value) in (tuple, list) and any(True for _ in refs_in(value)):
            inner = ", ".join(self.argument(item, lines) for item in value)
            return f"({inner},)" if type(value) is tuple else f"[{inner}]"
        return self.name(value)

    def _part(self, ref: Ref, lines: list[str]) -> str:
        if ref.how is None:
            return self.variable(ref)
        parent = self._part(ref.how.parent, lines)
        rest = "".join(f", {self.name(item)}" for item in ref.how.args)
        name = f"p{len(lines)}"
        lines.append(f"{name} = {self.name(ref.how.func)}({parent}{rest})")
        return name

    def call(self, call: Call, made: set[int]) -> Iterator[str]:
        """The lines of a call; `made` are the outputs that have their memory already."""
        lines: list[str] = []
        args, kwargs = list(call.args), call.kwargs
        result = ""
        for ref in call.writes:
            if ref.buffer.kind != "output" or id(ref.buffer) in made:
                continue
            made.add(id(ref.buffer))
            target = self.variable(ref)
            if isinstance(call.func, np.ufunc) and ref.is_whole and ref.ndim:
                args = [item for item in args if item is not ref]  # it allocates its result
                kwargs = {key: item for key, item in kwargs.items() if item is not ref}
                result = f"{target} = "
            else:
                whole = ref.buffer.meta
                assert whole is not None
                shape, dtype = self.name(whole.shape), self.name(whole.dtype)
                lines.append(f"{target} = {self.name(np.empty)}({shape}, {dtype})")
        if call.returns:
            names = ", ".join(map(self.variable, call.returns))
            result = f"{names} = " if len(call.returns) == 1 else f"({names},) = "
        texts = [self.argument(item, lines) for item in args]
        texts += [f"{key}={self.argument(item, lines)}" for key, item in kwargs.items()]
        yield from lines
        yield f"{result}{self.name(call.func)}({', '.join(texts)})"

    def outputs(self) -> str:
        """The tuple of all outputs; what is known is copied, since its owner may change it."""
        texts: list[str] = []
        for item in self.recording.outputs:
            if isinstance(item, Ref):
                texts.append(self.variable(item))
            else:
                texts.append(f"{self.name(np.array)}({self.name(item)})")
        return f"({', '.join(texts)}{',' * (len(texts) == 1)})"

    @property
    def variables(self) -> list[str]:
        """The variables so far, in order of appearance."""
        return [name for name in self._names.values() if name.startswith("v")]

    @property
    def inputs(self) -> str:
        """The parameters: a variable for each input."""
        return ", ".join(map(self.variable, self.recording.inputs))


@dataclass(frozen=True)
class Source:
    """Python source of a program: a factory of functions over the names that it takes.

    `steps` has for each line the place of the call that it belongs to, -1 where there is none.
    """

    code: CodeType
    text: str
    steps: tuple[int, ...]
    shared: dict[str, Any]
    placed: dict[str, Ref]

    def bind(self, array_of: Binder) -> Any:
        """What the factory makes of an arena."""
        scope: dict[str, Any] = {STEPS: self.steps}
        exec(self.code, scope)  # names and numbers only: nothing of a model's text is in it
        return scope["make"](
            **self.shared, **{name: array_of(ref) for name, ref in self.placed.items()}
        )


def straight_line(recording: Recording) -> Source:
    """One function of the inputs that makes all calls in order and returns the outputs."""
    emitter = Emitter(recording)
    inputs = emitter.inputs
    made: set[int] = set()
    lines: list[str] = []
    steps: list[int] = []
    for index, call in enumerate(recording.calls):
        for line in emitter.call(call, made):
            lines.append(f"        {line}")
            steps.append(index)
    lines.append(f"        return {emitter.outputs()}")
    head = [f"def make({_parameters(emitter)}):", f"    def run({inputs}):"]
    return _source([*head, *lines, "    return run"], [-1, -1, *steps, -1, -1], emitter)


def separate(recording: Recording, order: Sequence[int]) -> Source:
    """Functions without arguments, one a call, between one that takes the inputs and one that
    returns the outputs; they share variables. `order` is one in which the calls may run."""
    emitter = Emitter(recording)
    inputs = emitter.inputs
    made: set[int] = set()
    bodies = {index: list(emitter.call(recording.calls[index], made)) for index in order}
    outputs = emitter.outputs()
    shared = emitter.variables
    lines = [f"def make({_parameters(emitter)}):"]
    steps = [-1]
    nonlocals = f"        nonlocal {', '.join(shared)}"
    given = [name for name in inputs.split(", ") if name]
    if shared:
        lines.append(f"    {' = '.join(shared)} = None")
    lines.append(f"    def start({', '.join(f'_{name}' for name in given)}):")
    lines += [nonlocals] * bool(given) + [f"        {name} = _{name}" for name in given]
    lines.append("        return None")
    steps += [-1] * (len(lines) - len(steps))
    for index, body in bodies.items():
        lines.append(f"    def s{index}():")
        lines += [nonlocals] * bool(shared) + [f"        {line}" for line in body]
        steps += [index] * (len(lines) - len(steps))
    lines.append("    def finish():")
    lines += [nonlocals] * bool(shared) + [f"        made = {outputs}"]
    if shared:
        lines.append(f"        {' = '.join(shared)} = None")
    lines.append("        return made")
    names = "".join(f"s{index}, " for index in range(len(recording.calls)))
    lines.append(f"    return start, ({names}), finish")
    steps += [-1] * (len(lines) - len(steps))
    return _source(lines, steps, emitter)


def _parameters(emitter: Emitter) -> str:
    return ", ".join([*emitter.shared, *emitter.placed])


def _source(lines: list[str], steps: list[int], emitter: Emitter) -> Source:
    text = "\n".join(lines) + "\n"
    code = compile(text, FILE, "exec")
    return Source(code, text, tuple(steps), emitter.shared, emitter.placed)
