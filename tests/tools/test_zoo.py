"""A slice of the zoo, on models that ship with onnx; and that its checks catch planted faults."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from graphopt.ir import Node
from graphopt.ops.conv import conv
from graphopt.passes.contractions import maps
from tools.seeded import seeded
from tools.zoo import Outcome, check_proto

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


def outcome(name: str) -> Outcome:
    """What a model with seeded weights shows."""
    model = onnx.load(LIGHT / f"{name}.onnx")  # pyright: ignore[reportUnknownMemberType]
    return check_proto(name, seeded(model))


@pytest.mark.parametrize(("name", "left"), [("light_squeezenet", 65), ("light_shufflenet", 154)])
def test_results_are_those_of_the_original(name: str, left: int) -> None:
    seen = outcome(name)
    assert seen.passed
    assert seen.nodes[1] <= left


def test_a_fault_in_a_kernel_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    right = conv.kernel

    def wrong(*operands: Any, **attributes: Any) -> Any:
        return right(*operands, **attributes) * 1.001

    monkeypatch.setattr(conv, "kernel", wrong)
    assert not outcome("light_squeezenet").passed


def test_a_fault_in_a_rule_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    right = maps.normalizer

    def wrong(node: Node) -> maps.Affine:
        made = right(node)
        return replace(made, shift=made.shift * 1.01)

    monkeypatch.setattr(maps, "normalizer", wrong)
    assert not outcome("light_shufflenet").passed
