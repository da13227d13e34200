"""Graphs on which something was wrong once, through every pipeline and math mode, again."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

import graphopt
from graphopt.graph import Graph
from tools.fuzz_check import Case, Checker, Plan, valid_trials
from tools.fuzz_values import MOODS, Values, draw_inputs, draw_sizes

FOLDER = Path(__file__).parent / "regressions"
FILES = sorted(FOLDER.glob("*.gir"))
DRAWS = 3


def drawn(graph: Graph) -> list[tuple[str, Values]]:
    """Inputs for a graph: some in each mood, of different sizes."""
    made: list[tuple[str, Values]] = []
    for seed in range(DRAWS):
        rng = np.random.default_rng(seed)
        sizes = draw_sizes(random.Random(seed))
        made += [(mood, draw_inputs(graph, sizes, rng, mood)) for mood in MOODS]
    return made


def test_there_are_some() -> None:
    assert FILES


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_nothing_is_wrong(path: Path) -> None:
    graph = graphopt.load(path)
    case = Case(graph, valid_trials(graph, drawn(graph)))
    assert case.trials, "the graph runs on none of the inputs"
    found = list(Checker(case, Plan(onnx=True)).findings())
    assert not found, "\n".join(f"{f.kind} {f.pipeline} {f.math}: {f.text}" for f in found)
