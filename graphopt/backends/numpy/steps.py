"""From a recording to the steps of a plan: what is dead goes, outputs get memory of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphopt.backends.numpy.block import Buffer, Call, Ref
from graphopt.backends.numpy.cost import estimate
from graphopt.backends.numpy.recorder import Recorder
from graphopt.engine.plan import Buffer as Memory
from graphopt.engine.plan import Step, StepGraph
from graphopt.engine.plan.steps import Kind

KINDS: dict[str, Kind] = {
    "temp": "step",
    "constant": "persistent",
    "input": "input",
    "late": "output",  # in memory of its own, like what leaves the program
    "output": "output",
}


@dataclass(frozen=True)
class Recording:
    """A program as it was written down: calls in order, and where the outputs are.

    An output is a ref to all of a buffer that nothing else uses after, or an array that is known.
    """

    calls: tuple[Call, ...]
    inputs: tuple[Ref, ...]
    outputs: tuple[Ref | np.ndarray[Any, Any], ...]

    @property
    def buffers(self) -> dict[Buffer, str]:
        """The buffers that calls or outputs use, with a name for each, in order of appearance."""
        found: dict[Buffer, str] = {ref.buffer: f"in{k}" for k, ref in enumerate(self.inputs)}
        for call in self.calls:
            for ref in (*call.refs, *call.returns):
                found.setdefault(ref.buffer, f"b{len(found)}")
        return found


def finish(recorder: Recorder, results: Sequence[Any]) -> Recording:
    """The recording that computes some results and nothing else, each in an array of its own."""
    recorder.node = None
    outputs: list[Ref | np.ndarray[Any, Any]] = []
    for result in results:
        if not isinstance(result, Ref):
            outputs.append(result)
        elif result.is_whole and result.buffer.kind == "temp":
            result.buffer.kind = "output"
            outputs.append(result)
        else:  # a part, an input, or what may be one: nobody else may have it
            late = recorder.late(result.meta if result.is_known else None)
            recorder.call((late,), fresh, result)
            outputs.append(late)
    return Recording(tuple(_alive(recorder.calls, outputs)), tuple(recorder.inputs), tuple(outputs))


def fresh(value: Any) -> Any:
    """A copy that nobody else has."""
    return [fresh(item) for item in value] if isinstance(value, list) else np.array(value)  # pyright: ignore[reportUnknownVariableType]


def _alive(calls: Sequence[Call], outputs: Sequence[Any]) -> list[Call]:
    """The calls that outputs depend on."""
    needed = {ref.buffer for ref in outputs if isinstance(ref, Ref)}
    kept: list[Call] = []
    for call in reversed(calls):
        if any(ref.buffer in needed for ref in (*call.writes, *call.returns)):
            kept.append(call)
            needed.update(ref.buffer for ref in call.refs)
    kept.reverse()
    for call in kept:
        call.cost = call.cost or estimate(call)
    return kept


def step_graph(recording: Recording) -> StepGraph:
    """The buffers and steps of a recording, as the planner takes them."""
    names = recording.buffers
    buffers = [
        Memory(name, 0 if buffer.meta is None else buffer.meta.nbytes, KINDS[buffer.kind])
        for buffer, name in names.items()
    ]
    written: set[Buffer] = set()
    steps: list[Step] = []
    for index, call in enumerate(recording.calls):
        targets = dict.fromkeys(ref.buffer for ref in (*call.writes, *call.returns))
        steps.append(
            Step(
                step_name(index, call),
                read=tuple(names[r.buffer] for r in call.reads if r.buffer not in targets),
                mutate=tuple(names[b] for b in targets if b in written),
                write=tuple(names[b] for b in targets if b not in written),
                cost=call.cost,
                may_share=_sharable(call, names),
            )
        )
        written.update(targets)
    return StepGraph(buffers, steps)


def step_name(index: int, call: Call) -> str:
    """What a call is named in plans: its place, its node's op and its function."""
    op = call.node.op.name if call.node is not None else "output"
    func = getattr(call.func, "__name__", type(call.func).__name__)
    return f"{index}:{op}" if func == "partial" else f"{index}:{op}.{func}"


def _sharable(call: Call, names: dict[Buffer, str]) -> tuple[str, ...]:
    """The buffers of operands that the result may overwrite: of its size, element by element.

    Not those of one element: NumPy takes three times as long where these overlap.
    """
    if not call.inplace or not call.writes[0].is_whole or call.writes[0].size == 1:
        return ()
    out = call.writes[0].meta
    same: dict[Buffer, None] = {}
    other: set[Buffer] = set()
    for ref in call.reads:
        base = ref.buffer.meta
        alike = base is not None and ref.is_known and base.nbytes == out.nbytes == ref.nbytes
        if alike and ref.shape == out.shape and ref.meta.strides == out.strides:
            same[ref.buffer] = None
        else:  # read in another layout, perhaps beside the first
            other.add(ref.buffer)
    return tuple(names[each] for each in same if each.kind == "temp" and each not in other)
