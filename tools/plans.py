"""Compare planners of memory and lanes on abstract graphs: bytes against speed-up.

    python -m tools.plans [GRAPH...]

Each cell: the arena relative to the bytes alive in program order (nothing in place), and the
predicted speed-ups on 2 and 4 lanes. The classical planners decide in program order who shares
bytes; reuse then is what an engine sees of it, a mutation of the shared bytes, and the steps are
list-scheduled with these dependencies. `ours` is planned for 1, 2 and 4 lanes by `make_plan`,
accepted however small the gain.

- no reuse: every buffer has bytes of its own; the speed-up to keep.
- size classes: a pool of blocks; one up to 16 times smaller or larger will do (MXNet's planner).
- exact sizes: a pool of blocks, taken over by buffers of equal size (ONNX Runtime, sequential).
- best fit: one arena, each buffer in its turn in the tightest gap (ONNX Runtime's memory pattern).
- greedy by size: one arena, the largest buffers first (TensorFlow Lite).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from types import MappingProxyType

from graphopt.engine.plan import Plan, Policy, Step, StepGraph, make_plan
from graphopt.engine.plan.alive import peak
from graphopt.engine.plan.memory import Layout, lay_out
from graphopt.engine.plan.schedule import schedule, serial
from graphopt.engine.plan.steps import Buffer
from tools.plan_graphs import GRAPHS

Planner = Callable[[StepGraph], Layout]
EAGER = Policy(gain=0.0)


def births(graph: StepGraph) -> Iterator[tuple[str, str | None, list[str]]]:
    """Step buffers in program order: each with the one it takes over, and those dead before it."""
    last = {name: users[-1] for name, users in graph.users.items() if users}
    dying: dict[int, list[str]] = {}
    dead: list[str] = []
    for index, step in enumerate(graph.steps):
        for name in step.write:
            if graph.buffer[name].kind != "step":
                continue
            size = graph.buffer[name].nbytes
            taken = next(
                (
                    other
                    for other in step.may_share
                    if graph.buffer[other].kind == "step"
                    and (graph.buffer[other].nbytes, last[other]) == (size, index)
                ),
                None,
            )
            yield name, taken, dead
            dead = []
            dying.setdefault(last[name], []).append(name)
            if taken is not None:
                dying[index].remove(taken)
        dead = dead + dying.pop(index, [])


def no_reuse(graph: StepGraph) -> Layout:
    """Every buffer for itself."""
    offset: dict[str, int] = {}
    arena = 0
    for name, _, _ in births(graph):
        offset[name] = arena
        arena += graph.buffer[name].nbytes
    return Layout(arena, offset)


def pooled(graph: StepGraph, ratio: float) -> Layout:
    """A pool of blocks, each taken over by what is at most some times larger or smaller."""
    sizes: list[int] = []
    block: dict[str, int] = {}
    free: list[int] = []
    for name, taken, dead in births(graph):
        free += [block[other] for other in dead]
        size = graph.buffer[name].nbytes
        fits = [b for b in free if size <= sizes[b] * ratio and sizes[b] <= size * ratio]
        if taken is not None:
            block[name] = block[taken]
        elif fits:  # the smallest that is large enough, else the largest, which grows
            chosen = min(fits, key=lambda b: (sizes[b] < size, abs(sizes[b] - size)))
            free.remove(chosen)
            sizes[chosen] = max(sizes[chosen], size)
            block[name] = chosen
        else:
            block[name] = len(sizes)
            sizes.append(size)
    starts = [sum(sizes[:index]) for index in range(len(sizes))]
    return Layout(sum(sizes), {name: starts[index] for name, index in block.items()})


def best_fit(graph: StepGraph) -> Layout:
    """One arena, in program order."""
    offset: dict[str, int] = {}
    alive: dict[str, int] = {}
    arena = 0
    for name, taken, dead in births(graph):
        for other in dead:
            del alive[other]
        size = graph.buffer[name].nbytes
        if taken is not None:
            offset[name] = alive.pop(taken)
        else:
            offset[name] = _tightest(
                size, sorted((at, graph.buffer[b].nbytes) for b, at in alive.items())
            )
        alive[name] = offset[name]
        arena = max(arena, offset[name] + size)
    return Layout(arena, offset)


def _tightest(size: int, taken: list[tuple[int, int]]) -> int:
    """The start of the tightest gap that holds some bytes, else the end of all."""
    end, gaps = 0, list[tuple[int, int]]()
    for start, length in taken:
        if start - end >= size:
            gaps.append((start - end, end))
        end = max(end, start + length)
    return min(gaps)[1] if gaps else end


CLASSICAL: Mapping[str, Planner] = MappingProxyType(
    {
        "no reuse": no_reuse,
        "size classes": lambda graph: pooled(graph, 16),
        "exact sizes": lambda graph: pooled(graph, 1),
        "best fit": best_fit,
        "greedy by size": lambda graph: lay_out(graph, serial(graph)),
    }
)


def reused(graph: StepGraph, layout: Layout) -> StepGraph:
    """The same steps over pieces of the arena instead of buffers, so that reuse is a dependency."""
    ends = {layout.offset[name] + graph.buffer[name].nbytes for name in layout.offset}
    cuts = sorted(ends | set(layout.offset.values()))
    pieces = {
        name: tuple(f"@{low}" for low in cuts if offset <= low < offset + graph.buffer[name].nbytes)
        for name, offset in layout.offset.items()
    }
    buffers = [each for each in graph.buffers if each.name not in pieces]
    for low, high in pairwise(cuts):
        buffers.append(Buffer(f"@{low}", high - low))

    def spread(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(piece for name in names for piece in pieces.get(name, (name,)))

    steps: list[Step] = []
    for step in graph.steps:
        read, write = spread(step.read), spread(step.write)
        mutate = (*spread(step.mutate), *(piece for piece in write if piece in read))
        write = tuple(piece for piece in write if piece not in read)
        steps.append(Step(step.name, None, read, mutate, write, step.cost))
    return StepGraph(buffers, steps)


def classical(graph: StepGraph, planner: Planner) -> tuple[float, float, float]:
    """A planner's bytes, relative to program order's, and its speed-ups on 2 and 4 lanes."""
    layout = planner(graph)
    shared, alone = reused(graph, layout), serial(graph).makespan
    two, four = (alone / schedule(shared, lanes, EAGER).makespan for lanes in (2, 4))
    return layout.arena / peak(graph), two, four


def ours(graph: StepGraph) -> tuple[Plan, Plan, Plan]:
    """Our plans for 1, 2 and 4 lanes."""
    return make_plan(graph, 1, EAGER), make_plan(graph, 2, EAGER), make_plan(graph, 4, EAGER)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("graphs", nargs="*", metavar="GRAPH", help=f"of {', '.join(GRAPHS)}")
    names = parser.parse_args().graphs or list(GRAPHS)
    graphs = {name: GRAPHS[name]() for name in names}
    print("| planner | " + " | ".join(graphs) + " |")
    print("|---|" + "---|" * len(graphs))
    for title, planner in CLASSICAL.items():
        cells = ["{:.2f}x; {:.2f} / {:.2f}".format(*classical(g, planner)) for g in graphs.values()]
        print(f"| {title} | " + " | ".join(cells) + " |", flush=True)
    plans = [ours(graph) for graph in graphs.values()]
    for column, lanes in enumerate((1, 2, 4)):
        chosen = [each[column] for each in plans]
        cells = [f"{plan.arena / peak(plan.graph):.2f}x; {plan.speedup:.2f}" for plan in chosen]
        print(f"| ours, {lanes} lane{'s' * (lanes > 1)} | " + " | ".join(cells) + " |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
