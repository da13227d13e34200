"""Measure what plans of the numpy backend cost, beside the same NumPy calls without a plan.

    python -m tools.bench_plans [steps|memory|serial|calls ...] [--models MODEL ...] [--threads 2]
                                [--rounds 30]

- steps: CPU time of a step beyond its call: a compiled chain of scalar additions beside the same
  calls written by hand, the engine's list of steps beside a bare loop over it, and the chain's time
  a node beside ONNX Runtime's.
- memory: the arena of each model's plans relative to the bytes alive in program order, with one
  lane and with four, however little these gain; the speed-up of four lanes, and how much of it is
  kept beside a schedule that need not save memory; and how many of four lanes a plan takes by
  default. By the predicted costs.
- serial: CPU time of each model beside its steps in a bare loop, with BLAS on as many threads and
  on one.
- calls: a call that adds 1 to one element, by NumPy, by an executable, by a traced function and by
  jax.jit.

Everything compared takes turns; medians of CPU time are shown.
"""

from __future__ import annotations

import argparse
import operator
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from types import MappingProxyType
from typing import Any

import numpy as np

import graphopt
from graphopt.backends.executable import processors
from graphopt.backends.numpy.blas import budget
from graphopt.backends.numpy.emit import separate
from graphopt.backends.numpy.instance import Arena, quiet
from graphopt.backends.numpy.program import NumpyProgram
from graphopt.backends.numpy.steps import step_graph
from graphopt.engine.plan import Plan, Program, Step, StepGraph, make_plan
from graphopt.engine.plan.alive import peak
from graphopt.engine.plan.schedule import schedule, serial
from graphopt.errors import UsageError
from graphopt.frontends.onnx import to_proto
from graphopt.graph import Graph
from graphopt.ops.arithmetic import add
from graphopt.structural import constant, graph_input
from graphopt.types import DType, TensorType
from tools import latency_peaks, models, zoo
from tools.latency import WARM, Feeds, Subject, program_of, session, size_text, sizes
from tools.plans import EAGER

Call = Callable[[], object]
ENOUGH = 0.003
"""The CPU seconds that calls in a row should take to be measured."""


def samples(calls: Mapping[str, Call], rounds: int) -> dict[str, list[float]]:
    """The CPU seconds of each call, in turns between which all threads rest."""
    counts: dict[str, int] = {}
    for name, call in calls.items():
        call()
        counts[name] = max(1, round(ENOUGH / max(_cpu_of(call, 1), 1e-7)))
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            latency_peaks.settle()
            taken[name].append(_cpu_of(call, counts[name]))
    return taken


def cpu(calls: Mapping[str, Call], rounds: int) -> dict[str, float]:
    """The median of the CPU seconds of each call."""
    return {name: statistics.median(taken) for name, taken in samples(calls, rounds).items()}


def excess(call: Call, bare: Call, rounds: int) -> float:
    """By how many CPU seconds a call exceeds another: the median over rounds of the difference."""
    taken = samples({"call": call, "bare": bare}, rounds)
    found: float = statistics.median(map(operator.sub, taken["call"], taken["bare"]))
    return found


def _cpu_of(call: Call, count: int) -> float:
    start = time.process_time()
    for _ in range(count):
        call()
    return (time.process_time() - start) / count


# What a step costs.


def chain(count: int) -> Graph:
    """So many additions of constants to one element, in a row."""
    x = graph_input("x", TensorType(DType.FLOAT32, (1,)))
    y = x
    for k in range(count):
        y = add(y, constant(np.array([k + 1.0], np.float32)))
    return Graph((x,), (y,), ("y",))


def by_hand(count: int) -> Callable[[Any], Any]:
    """The chain as one would write it for speed: a line a call, to and fro between two arrays.

    (Where one element is overwritten in place, NumPy takes longer.)
    """
    scope: dict[str, Any] = {"add": np.add, "a0": np.empty(1, np.float32)}
    scope |= {"a1": np.empty(1, np.float32)}
    scope |= {f"k{k}": np.array([k + 1.0], np.float32) for k in range(count)}
    lines = ["add(x, k0, a0)"]
    lines += [f"add(a{(k - 1) % 2}, k{k}, a{k % 2})" for k in range(1, count - 1)]
    lines.append(f"return (add(a{count % 2}, k{count - 1}),)")
    body = "".join(f"        {line}\n" for line in lines)
    text = f"def make({', '.join(scope)}):\n    def run(x):\n{body}    return run\n"
    made: dict[str, Any] = {}
    exec(text, made)
    run: Callable[[Any], Any] = made["make"](**scope)
    return run


def steps(rounds: int, count: int = 1000) -> None:
    """Print what a step costs."""
    x = np.ones(1, np.float32)
    program = graphopt.compile(chain(count), threads=1).prepare(x)
    assert program is not None
    manual = by_hand(count)
    beyond = excess(lambda: program(x), lambda: manual(x), rounds)
    _row("step of a compiled chain beyond the NumPy call", beyond / count)
    listed = Program(make_plan(StepGraph([], [Step(f"s{k}", int) for k in range(count)])))
    beyond = excess(listed.run, _loop([int] * count), rounds)
    _row("step of the engine's list beyond a bare loop", beyond / count)
    per_node(rounds, count)


def _loop(calls: Sequence[Call]) -> Call:
    def run() -> None:
        for call in calls:
            call()

    return run


def per_node(rounds: int, count: int) -> None:
    """Print the time of a node of the chain: the slope between a short chain and a long one."""
    x = np.ones(1, np.float32)
    calls: dict[str, Call] = {}
    for length in (10, 10 + count):
        graph = chain(length)
        executable = graphopt.compile(graph, threads=1)
        runtime = session(to_proto(graph), threads=1, optimized=False)
        calls[f"graphopt {length}"] = partial(executable, x)
        calls[f"ONNX Runtime {length}"] = partial(runtime.run, None, {"x": x})
    found = cpu(calls, rounds)
    for who in ("graphopt", "ONNX Runtime"):
        slope = (found[f"{who} {10 + count}"] - found[f"{who} 10"]) / count
        _row(f"node of a chain of scalar additions, {who}", slope)


def _row(what: str, seconds: float) -> None:
    print(f"| {what} | {seconds * 1e6:.3f} |", flush=True)


# What models' plans hold and take.


def planned(subject: Subject, feeds: Feeds, threads: int) -> tuple[NumpyProgram, list[Any]]:
    """A model's program for some inputs once it has found its best way, and these in order."""
    executable = graphopt.compile(subject.graph, "numpy", threads=threads)
    for _ in range(WARM):
        executable(**feeds)
    return program_of(executable, feeds)


def arenas(graph: StepGraph, lanes: int = 4) -> tuple[float, float, float, float]:
    """Bytes with one lane and with several, relative to those alive; speed-up kept, and the ideal.

    The plan for several lanes is taken however little it gains.
    """
    alive = max(peak(graph), 1)
    one, several = make_plan(graph), make_plan(graph, lanes, EAGER)
    free = serial(graph).makespan / max(schedule(graph, lanes, EAGER).makespan, 1)
    ideal = max(free, 1.0)
    return one.arena / alive, several.arena / alive, several.speedup / ideal, ideal


def memory(subject: Subject, feeds: Feeds, threads: int, rounds: int) -> str:
    """A model's line on the memory of its plans."""
    program, _ = planned(subject, feeds, threads)
    graph = step_graph(program.recording)
    one, four, kept, ideal = arenas(graph)
    chosen = len(make_plan(graph, 4).lanes)
    return f"{one:.2f}x | {four:.2f}x | {ideal:.2f}x | {kept:.1%} | {chosen}"


def bare(program: NumpyProgram, plan: Plan) -> Callable[..., Any]:
    """The steps of a program on one lane as calls in a bare loop."""
    source = separate(program.recording, plan.line.order)
    start, calls, finish = source.bind(Arena(plan, program.recording.buffers).array)
    context = quiet()
    rest = _loop([calls[step] for step in plan.line.order])

    def run(*arrays: Any) -> Any:
        start(*arrays)
        context.run(rest)
        return finish()

    return run


def against_serial(subject: Subject, feeds: Feeds, threads: int, rounds: int) -> str:
    """A model's line on CPU time, beside its steps in a bare loop."""
    program, arrays = planned(subject, feeds, threads)
    plan, blas = program.plan.plan, program.plan.blas
    if len(plan.lanes) > 1:
        return f"{len(plan.lanes)} | {blas} | - | - | -"
    loop = bare(program, plan)

    def limited(count: int) -> Call:
        def run() -> None:
            with budget().limited(count):
                loop(*arrays)

        return run

    calls = {"plan": lambda: program(*arrays), "same": limited(blas), "one": limited(1)}
    found = cpu(calls, rounds)
    same, one = found["plan"] / found["same"], found["plan"] / found["one"]
    return f"1 | {blas} | {found['plan'] * 1e3:.3g} | {same:.3f}x | {one:.3f}x"


MODEL_TABLES: Mapping[str, tuple[str, Callable[[Subject, Feeds, int, int], str]]] = (
    MappingProxyType(
        {
            "memory": ("1 lane | 4 lanes | ideal speed-up of 4 | kept | lanes chosen", memory),
            "serial": (
                "lanes | BLAS on | CPU ms | of a loop | of a loop, BLAS on 1",
                against_serial,
            ),
        }
    )
)


def over_models(what: str, names: Sequence[str], threads: int, rounds: int) -> None:
    """Print one of the tables that have a line a model and input size."""
    title, measure = MODEL_TABLES[what]
    columns = title.count("|") + 3
    print(f"\n| model | input | {title} |\n|{'---|' * columns}", flush=True)
    for name in names:
        subject = Subject.load(name)
        for feeds in sizes(name, subject.proto):
            cells = measure(subject, feeds, threads, rounds)
            print(f"| {name} | {size_text(feeds)} | {cells} |", flush=True)


# What a call costs.


def cached_calls(rounds: int) -> None:
    """Print what a call of x + 1 costs; jax.jit is left out where jax is not installed."""
    x = np.ones(1, np.float32)
    calls: dict[str, Call] = {"NumPy x + 1": lambda: x + 1}
    executable = graphopt.compile(chain(1), threads=1)
    calls["an executable"] = lambda: executable(x)
    traced = graphopt.function(_next)
    calls["a traced function"] = lambda: traced(x)
    try:
        jax: Any = import_module("jax")
    except ModuleNotFoundError:
        print("jax is not installed")
    else:
        compiled = jax.jit(_next)
        on_device = jax.numpy.asarray(x)
        calls["jax.jit, from NumPy to JAX"] = lambda: compiled(x).block_until_ready()
        calls["jax.jit, from JAX to JAX"] = lambda: compiled(on_device).block_until_ready()
        calls["jax.jit, from NumPy to NumPy"] = lambda: np.asarray(compiled(x))
        ours = graphopt.compile(chain(1), "jax")
        calls["an executable on jax"] = lambda: ours(x)
    for name, seconds in cpu(calls, rounds).items():
        _row(f"call of {name}", seconds)


def _next(x: Any) -> Any:
    return x + 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; the exit status."""
    every = ("steps", "memory", "serial", "calls")
    parser = argparse.ArgumentParser(description="Measure plans of the numpy backend.")
    parser.add_argument("what", nargs="*", metavar="WHAT", help=f"of {', '.join(every)}")
    parser.add_argument("--models", nargs="+", metavar="MODEL")
    parser.add_argument("--threads", type=int, default=processors())
    parser.add_argument("--rounds", type=int, default=30)
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.what) - set(every):
        parser.error(f"{', '.join(sorted(unknown))}: not one of {', '.join(every)}")
    names = chosen.models or [each for each in models.names() if each not in zoo.OPAQUE]
    try:
        print(f"BLAS: {latency_peaks.blas_kernels()}", flush=True)
        with latency_peaks.on_processors(chosen.threads):
            for what in chosen.what or every:
                if what in MODEL_TABLES:
                    over_models(what, names, chosen.threads, chosen.rounds)
                    continue
                print("\n| what | CPU µs |\n|---|---|")
                (steps if what == "steps" else cached_calls)(chosen.rounds)
    except graphopt.GraphoptError as error:
        print(f"bench_plans: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
