"""The systems that the engine's benchmarks measure.

    python -m tools.bench_engine_peers SYSTEM

serves one system, in a process of its own: it answers each line "PROGRAM TASKS" with a line of
JSON, the CPU time of all threads and the wall time, in microseconds a task. Only the standard
library is imported at the top, for any interpreter must do: MXNet 1.9.1 wants numpy<1.24.

Of a system only its own work is timed. Variables, arrays and dask's graph are made beforehand, and
so are the edges that pools and dask cannot derive from what a task reads and mutates.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from importlib import import_module
from importlib.metadata import version
from typing import Any, Protocol, TextIO

from tools.bench_engine_programs import PROGRAMS, Call, Program, cell_count, predecessors


class System(Protocol):
    """Something that runs programs."""

    def start(self) -> str:
        """Make it ready and tell its version; raises when it is not installed."""
        ...

    def prepare(self, program: Program) -> Call | None:
        """What runs a program to its end; None when the system cannot express it."""
        ...

    def close(self) -> None:
        """Stop it."""
        ...


class Loop:
    """The calls in a loop: nothing can cost less."""

    def start(self) -> str:
        return f"Python {sys.version.split()[0]}"

    def prepare(self, program: Program) -> Call:
        calls = [task.call for task in program]

        def run() -> None:
            for call in calls:
                call()

        return run

    def close(self) -> None:
        pass


class Graphopt:
    """graphopt's engine: it derives the order from what each task reads and mutates."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.engine: Any = None

    def start(self) -> str:
        self.engine = import_module("graphopt.engine").Engine(**self.options)
        return "graphopt"

    def prepare(self, program: Program) -> Call:
        engine = self.engine
        variables = [engine.new_variable(f"v{k}") for k in range(cell_count(program))]
        pushes = [
            (call, tuple(variables[each] for each in reads), (variables[cell],))
            for call, reads, cell in program
        ]

        def run() -> None:
            push = engine.push
            for call, reads, mutated in pushes:
                push(call, read=reads, mutate=mutated)
            engine.wait_all()

        return run

    def close(self) -> None:
        self.engine.stop()


class Static:
    """A static plan of graphopt's engine on one lane: all is decided before the run."""

    def start(self) -> str:
        self.plans = import_module("graphopt.engine.plan")
        return "graphopt"

    def prepare(self, program: Program) -> Call:
        plans = self.plans
        buffers = [plans.Buffer(f"b{k}", 1, "persistent") for k in range(cell_count(program))]
        steps = [
            plans.Step(
                f"s{k}", call, read=tuple(f"b{each}" for each in reads), mutate=(f"b{cell}",)
            )
            for k, (call, reads, cell) in enumerate(program)
        ]
        run: Call = plans.Program(plans.make_plan(plans.StepGraph(buffers, steps))).run
        return run

    def close(self) -> None:
        pass


class Pool:
    """ThreadPoolExecutor, the dependencies spelt in one of three ways.

    results: the main thread takes the results of the predecessors, then submits the task
    inside: each task takes the results of its predecessors before it calls
    when ready: the predecessor that ends last submits the task
    """

    def __init__(self, workers: int, spelling: str) -> None:
        self.workers = workers
        self.spelling = spelling

    def start(self) -> str:
        self.pool = ThreadPoolExecutor(self.workers)
        return Loop().start()

    def prepare(self, program: Program) -> Call:
        calls = [task.call for task in program]
        before = predecessors(program)
        if self.spelling == "when ready":
            return partial(submit_when_ready, self.pool, calls, before)
        spelling = {"results": submit_after_results, "inside": submit_at_once}[self.spelling]
        return partial(spelling, self.pool, calls, before)

    def close(self) -> None:
        self.pool.shutdown()


Edges = Sequence[Sequence[int]]


def submit_after_results(pool: ThreadPoolExecutor, calls: Sequence[Call], before: Edges) -> None:
    futures: list[Future[object]] = []
    for call, needed in zip(calls, before, strict=True):
        for k in needed:
            futures[k].result()
        futures.append(pool.submit(call))
    for future in futures:
        future.result()


def submit_at_once(pool: ThreadPoolExecutor, calls: Sequence[Call], before: Edges) -> None:
    def step(call: Call, needed: Iterable[Future[object]]) -> object:
        for future in needed:  # started before this task, as the pool's queue is in order
            future.result()
        return call()

    futures: list[Future[object]] = []
    for call, needed in zip(calls, before, strict=True):
        futures.append(pool.submit(step, call, [futures[k] for k in needed]))
    for future in futures:
        future.result()


def submit_when_ready(pool: ThreadPoolExecutor, calls: Sequence[Call], before: Edges) -> None:
    missing = [len(needed) for needed in before]
    after: list[list[int]] = [[] for _ in calls]
    for k, needed in enumerate(before):
        for each in needed:
            after[each].append(k)
    lock, ended, left = threading.Lock(), threading.Event(), len(calls)

    def step(k: int) -> None:
        nonlocal left
        calls[k]()
        ready: list[int] = []
        with lock:
            left -= 1
            last = not left
            for each in after[k]:
                missing[each] -= 1
                if not missing[each]:
                    ready.append(each)
        for each in ready:
            pool.submit(step, each)
        if last:
            ended.set()

    for k, needed in enumerate(before):
        if not needed:
            pool.submit(step, k)
    ended.wait()


def call_after(call: Call, *_done: object) -> object:
    """The call, which takes no notice of the results of its predecessors."""
    return call()


class Dask:
    """dask's local schedulers, on the graph of the program's edges."""

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def start(self) -> str:
        sync, threaded = import_module("dask.local").get_sync, import_module("dask.threaded").get
        self.get = partial(threaded, num_workers=self.workers) if self.workers else sync
        return f"dask {version('dask')}"

    def prepare(self, program: Program) -> Call:
        before = predecessors(program)
        graph = {
            f"t{k}": (partial(call_after, task.call), *(f"t{each}" for each in before[k]))
            for k, task in enumerate(program)
        }
        inner = {each for needed in before for each in needed}
        return partial(self.get, graph, [f"t{k}" for k in range(len(program)) if k not in inner])

    def close(self) -> None:
        pass


class Joblib:
    """joblib on two threads, which knows no dependencies."""

    def start(self) -> str:
        joblib = import_module("joblib")
        self.parallel = joblib.Parallel(n_jobs=2, backend="threading")
        self.delayed = joblib.delayed
        return f"joblib {version('joblib')}"

    def prepare(self, program: Program) -> Call | None:
        if any(predecessors(program)):
            return None
        parallel, steps = self.parallel, [self.delayed(task.call)() for task in program]
        return lambda: parallel(steps)

    def close(self) -> None:
        pass


class Mxnet:
    """MXNet: an operation on arrays of one element takes the place of the no-op.

    `x += 1`, or `x = left + right` in place where a task reads two cells.
    """

    def __init__(self, engine: str) -> None:
        self.engine = engine

    def start(self) -> str:
        settings = {"MXNET_ENGINE_TYPE": self.engine, "MXNET_CPU_WORKER_NTHREADS": "2"}
        os.environ.update(settings, OMP_NUM_THREADS="1")
        self.nd = import_module("mxnet").nd
        return f"mxnet {version('mxnet')}"

    def prepare(self, program: Program) -> Call:
        nd = self.nd
        cells = [nd.zeros(1) for _ in range(cell_count(program))]
        nd.waitall()
        if not program[0].reads:
            targets = [cells[task.cell] for task in program]

            def increment() -> None:
                for cell in targets:
                    cell += 1
                nd.waitall()

            return increment
        steps = [(*(cells[each] for each in reads), cells[cell]) for _, reads, cell in program]

        def add() -> None:
            plus = nd.elemwise_add
            for left, right, cell in steps:
                plus(left, right, out=cell)
            nd.waitall()

        return add

    def close(self) -> None:
        self.nd.waitall()


class MxnetCalls(Mxnet):
    """MXNet's engine alone, through its C interface: it calls Python, or a no-op in C."""

    def __init__(self, engine: str, native: bool = False) -> None:
        super().__init__(engine)
        self.native = native
        self.kept: list[Any] = []  # arrays that only C knows

    def prepare(self, program: Program) -> Call:
        nd, pointer = self.nd, ctypes.c_void_p
        cells = [nd.zeros(1) for _ in range(cell_count(program))]
        nd.waitall()
        self.kept.append(cells)
        calls = [task.call for task in program]

        def back(_context: int, k: int | None) -> None:
            calls[k or 0]()

        def array(indices: Sequence[int]) -> Any:
            return (pointer * len(indices))(*(cells[each].handle.value for each in indices))

        push = ctypes.CDLL(import_module("mxnet.base")._LIB._name).MXEnginePushSyncND
        push.argtypes = [pointer] * 5 + [ctypes.c_int, pointer, ctypes.c_int, pointer]
        push.argtypes += [ctypes.c_int, ctypes.c_char_p]
        context = (ctypes.c_int * 2)(1, 0)  # the first CPU
        wrapped = ctypes.CFUNCTYPE(None, pointer, pointer)(back)
        function = ctypes.cast(ctypes.CDLL(None).labs if self.native else wrapped, pointer)
        steps = [(array(reads), len(reads), array((cell,))) for _, reads, cell in program]

        def run() -> None:
            for k, (reads, count, mutated) in enumerate(steps):
                push(function, k, None, context, reads, count, mutated, 1, None, 0, None)
            nd.waitall()

        return run


SYSTEMS: dict[str, System] = {
    "graphopt, 1 worker": Graphopt(workers=1),
    "graphopt, 2 workers": Graphopt(workers=2),
    "graphopt, serial": Graphopt(mode="serial"),
    "graphopt, static plan": Static(),
    "plain loop": Loop(),
    **{
        f"thread pool, {workers}, {spelling}": Pool(workers, spelling)
        for spelling in ("results", "inside", "when ready")
        for workers in (1, 2)
    },
    "dask, sync": Dask(0),
    "dask, 2 threads": Dask(2),
    "joblib, 2 threads": Joblib(),
    "mxnet, 2 threads, x += 1": Mxnet("ThreadedEngine"),
    "mxnet, naive, x += 1": Mxnet("NaiveEngine"),
    "mxnet, 2 threads, calls": MxnetCalls("ThreadedEngine"),
    "mxnet, naive, calls": MxnetCalls("NaiveEngine"),
    "mxnet, 2 threads, no-op in C": MxnetCalls("ThreadedEngine", native=True),
}


def timed(run: Call, count: int) -> dict[str, float]:
    """The CPU and wall time of a run, in microseconds for each of `count` tasks."""
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {"cpu": cpu / count * 1e6, "wall": wall / count * 1e6}


def serve(system: System, requests: Iterable[str], answers: TextIO) -> None:
    """Answer requests: first how the system starts, then each run; {} where it cannot."""

    def answer(**told: Any) -> None:
        print(json.dumps(told), file=answers, flush=True)

    try:
        answer(version=system.start())
    except Exception as error:  # an old mxnet and a new numpy: AttributeError
        answer(missing=f"{type(error).__name__}: {error}")
        return
    prepared: dict[str, Call | None] = {}
    for request in requests:
        name, count = request.split()
        if request not in prepared:
            prepared[request] = system.prepare(PROGRAMS[name](int(count)))
            gc.collect()
            gc.freeze()  # the collector need not walk over what is the benchmark's own
        run = prepared[request]
        answer(**({} if run is None else timed(run, int(count))))
    system.close()


if __name__ == "__main__":
    serve(SYSTEMS[sys.argv[1]], sys.stdin, sys.stdout)
