"""ONNX's own tests of single operators: those of the installed release, or of every opset's."""

from __future__ import annotations

import os

import onnx
import pytest

from graphopt.op import OPSET
from tools import node_tests
from tools.node_runs import AS_THEY_ARE, RUNS

FULL = os.environ.get("GRAPHOPT_FULL") == "1"


@pytest.mark.conformance
@pytest.mark.skipif(onnx.defs.onnx_opset_version() != OPSET, reason="another release's tests")
@pytest.mark.parametrize("run", RUNS)
def test_all_tests_of_the_installed_release(run: str) -> None:
    made = node_tests.report(OPSET, RUNS[run])
    assert made.passed > 1000
    assert node_tests.unexpected(OPSET, made) == {}
    assert run not in AS_THEY_ARE or node_tests.needless(OPSET, made) == {}


@pytest.mark.conformance
@pytest.mark.skipif(not FULL, reason="needs a network: make conformance")
@pytest.mark.parametrize("run", ["reference", "optimized", "exported"])
@pytest.mark.parametrize("opset", node_tests.RELEASES)
def test_all_tests_of_the_release_of(opset: int, run: str) -> None:
    made = node_tests.report(opset, RUNS[run])
    assert made.passed > 200
    assert node_tests.unexpected(opset, made) == {}
