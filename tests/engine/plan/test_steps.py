"""What steps may say, and the order that follows from it."""

from __future__ import annotations

from typing import Any

import pytest

from graphopt.engine.plan import Buffer, PlanError, Step, StepGraph

X, Y, Z = Buffer("x", 8, "input"), Buffer("y", 8), Buffer("z", 8, "output")


def test_edges_are_those_of_program_order() -> None:
    graph = StepGraph(
        [X, Y, Z],
        [
            Step("write", read=("x",), write=("y",)),
            Step("read", read=("y",), write=("z",)),
            Step("read too", read=("y",)),
            Step("mutate", mutate=("y",)),
            Step("overwrite", write=("y",)),
            Step("beside", read=("x",)),
        ],
    )
    assert graph.before == ((), (0,), (0,), (0, 1, 2), (3,), ())
    assert graph.after == ((1, 2, 3), (3,), (3,), (4,), (), ())
    assert graph.users == {"x": (0, 5), "y": (0, 1, 2, 3, 4), "z": (1,)}


def test_names_are_normalized() -> None:
    step = Step("s", read=("x", "y", "x", "z"), mutate=("y", "y"), write=("w", "w"))
    assert (step.read, step.mutate, step.write) == (("x", "z"), ("y",), ("w",))


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"read": ("q",)}, "s: q is no buffer"),
        ({"read": ("y",)}, "s: y is used before it is written"),
        ({"mutate": ("y",)}, "s: y is used before it is written"),
        ({"mutate": ("x",)}, "s: x is an input, which is only read"),
        ({"write": ("x",)}, "s: x is an input, which is only read"),
        ({"read": ("x",), "write": ("x",)}, "s: x is used and written: that is to mutate it"),
        ({"may_share": ("x",)}, "s: x is not read, so cannot be shared"),
        ({"cost": -1e-9}, "s: a cost of -1e-09 seconds"),
        ({"cost": float("nan")}, "s: a cost of nan seconds"),
    ],
)
def test_bad_step_is_refused(step: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError) as caught:
        StepGraph([X, Y], [Step("s", **step)])
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("buffers", "message"),
    [
        ([X, X], "x: two have this name"),
        ([Buffer("x", -1)], "x: -1 is no number of bytes"),
        ([Buffer("x", 8, "rented")], "x: 'rented' is none of step, persistent, input, output"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        ([Z], "z: no step writes this output"),
    ],
)
def test_bad_buffer_is_refused(buffers: list[Buffer], message: str) -> None:
    with pytest.raises(PlanError) as caught:
        StepGraph(buffers, [])
    assert str(caught.value) == message


def test_two_steps_of_one_name_are_refused() -> None:
    with pytest.raises(PlanError, match="s: two have this name"):
        StepGraph([], [Step("s"), Step("s")])
