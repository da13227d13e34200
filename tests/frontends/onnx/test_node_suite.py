"""ONNX's own tests of single operators: those of the installed release, or of every opset's."""

from __future__ import annotations

import os

import onnx
import pytest

from graphopt.op import OPSET
from tools import node_tests

FULL = os.environ.get("GRAPHOPT_FULL") == "1"


@pytest.mark.conformance
@pytest.mark.skipif(onnx.defs.onnx_opset_version() != OPSET, reason="another release's tests")
@pytest.mark.parametrize("backend", node_tests.RUNS)
def test_all_tests_of_the_installed_release(backend: str) -> None:
    made = node_tests.report(OPSET, node_tests.RUNS[backend])
    assert made.passed > 1000
    assert node_tests.unexpected(OPSET, made) == {}


@pytest.mark.conformance
@pytest.mark.skipif(not FULL, reason="needs a network: make conformance")
@pytest.mark.parametrize("opset", node_tests.RELEASES)
def test_all_tests_of_the_release_of(opset: int) -> None:
    made = node_tests.report(opset)
    assert made.passed > 200
    assert node_tests.unexpected(opset, made) == {}
