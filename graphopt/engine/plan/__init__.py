"""Static plans: abstract steps and buffers become lanes of calls over one arena.

Steps in program order -> a timeline (schedule) -> a layout of the arena on that timeline (memory)
-> signals between lanes (sync) -> a plan, which is data (plan, check, store) -> a program (run).
Nothing here knows of arrays or graphs: a step is a name, a cost, and the buffers that it touches.

>>> buffers = [Buffer("x", 100), Buffer("y", 8, "output")]
>>> fill = Step("fill", lambda: print("filling"), write=("x",), cost=1e-3)
>>> use = Step("use", lambda: print("using"), read=("x",), write=("y",), cost=1e-4)
>>> plan = make_plan(StepGraph(buffers, [fill, use]), lanes=2)
>>> len(plan.lanes), plan.arena
(1, 128)
>>> Program(plan).run()
filling
using
"""

from graphopt.engine.plan.check import check_plan
from graphopt.engine.plan.plan import Plan, make_plan
from graphopt.engine.plan.run import Program
from graphopt.engine.plan.schedule import Policy
from graphopt.engine.plan.steps import Buffer, PlanError, Step, StepGraph
from graphopt.engine.plan.store import dump_plan, load_plan

__all__ = [
    "Buffer",
    "Plan",
    "PlanError",
    "Policy",
    "Program",
    "Step",
    "StepGraph",
    "check_plan",
    "dump_plan",
    "load_plan",
    "make_plan",
]
