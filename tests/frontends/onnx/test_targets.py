"""Targets: what is fused is written as the target has it, and runs there as it did before."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import graphopt
from graphopt.backends import reference
from graphopt.cli import main
from graphopt.cli.options import make_parser
from graphopt.errors import UsageError
from graphopt.frontends.onnx import microsoft, targets, to_proto
from graphopt.frontends.onnx.spelled import MEANS
from graphopt.fusion import between, form_of, fuse
from graphopt.graph import Graph
from graphopt.ir import Node, walk
from graphopt.ops.activation import gelu, hard_swish, leaky_relu, mish, swish
from graphopt.ops.arithmetic import add, div, mul, sub
from graphopt.ops.functions import sqrt
from graphopt.ops.fused import fused
from graphopt.ops.linalg import matmul
from graphopt.ops.movement import transpose
from graphopt.ops.normalization import layer_normalization, rms_normalization
from graphopt.ops.reduction import reduce_mean
from graphopt.ops.softmax import log_softmax, softmax
from graphopt.passes.fusion.fuse import IDIOMS, Fuse
from graphopt.passes.fusion.gates import GATES
from graphopt.records import ModelInfo, Tables
from graphopt.rewriting.examples import example, filled, ints, weights
from graphopt.rewriting.rule import Math, Rule
from graphopt.rewriting.sweep import Sweep
from tests.frontends.onnx.models import check, graph, operators, read, run
from tests.passes.judge import ONCE


def graph_of(root: Node, opset: int = 17) -> Graph:
    inputs = tuple(node for node in walk((root,)) if node.op.name == "Input")
    info = ModelInfo(ir_version=10, opsets=(("", opset),))
    return Graph(inputs, (root,), ("result",), tables=Tables(info))


def feeds_of(graph: Graph) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    made: dict[str, Any] = {}
    for node in graph.inputs:
        sizes = [size if isinstance(size, int) else 3 for size in node.shape or ()]
        if node.dtype.is_integer:
            made[node.attrs["name"]] = rng.integers(0, 4, sizes).astype(node.dtype.numpy)
        else:
            made[node.attrs["name"]] = rng.standard_normal(sizes).astype(node.dtype.numpy)
    return made


def agrees(graph: Graph, model: onnx.ModelProto) -> None:
    """ONNX Runtime makes of a model what the reference makes of its graph."""
    feeds = feeds_of(graph)
    (wanted,) = reference.run(graph, feeds)
    (found,) = run(model, feeds)
    scale = max(float(np.abs(wanted).max()), 1e-3)
    step = float(np.finfo(wanted.dtype).eps) if wanted.dtype.kind == "f" else 0
    np.testing.assert_allclose(found, wanted, rtol=0, atol=64 * step * scale)


def applied(rule: Rule, root: Node) -> Node:
    def rewrite(node: Node) -> tuple[Node, str] | None:
        made = rule.apply(node, Math.FAST, ONCE)
        return None if made is None else (made, rule.key)

    (made,) = Sweep(rewrite).run((root,))
    return made


X = example("float32[N, 3, 8]")


def spelled(form: Node, *leaves: Node) -> Node:
    """A fused node with a form and a body that is something else of the same leaves."""
    root: Node = mul(X, X)
    for leaf in leaves[1:]:
        root = add(root, leaf)
    return fuse(root, between(root, leaves), form.op.name, form)


S, B = weights(8), weights(8, seed=1)
FORMS: dict[str, tuple[int, Callable[[Any], Node]]] = {
    "Gelu": (20, lambda x: gelu(x)),
    "HardSwish": (14, lambda x: hard_swish(x)),
    "LeakyRelu": (7, lambda x: leaky_relu(x)),
    "LogSoftmax": (13, lambda x: log_softmax(x)),
    "Mish": (18, lambda x: mish(x)),
    "Swish": (24, lambda x: swish(x)),
}


@pytest.mark.parametrize("name", FORMS)
def test_forms_are_written_from_their_opset_on(name: str) -> None:
    since, make = FORMS[name]
    graph = graph_of(spelled(make(X), X), max(since - 1, 7))
    assert operators(to_proto(graph)) == (["Mul"] if since > 7 else [name])
    assert to_proto(graph).opset_import[0].version == max(since - 1, 7), "the opset is not raised"
    made = to_proto(graph, opset=since)
    assert operators(made) == [name]
    check(made)


def test_what_no_runtime_has_is_not_written() -> None:
    x = example("float64[N, 3]")
    root = mul(x, x)
    made = fuse(root, between(root, (x,)), "LeakyRelu", leaky_relu(x))
    assert operators(to_proto(graph_of(made))) == ["Mul"]


def test_a_newer_opset_that_another_node_wants_lets_forms_be_written() -> None:
    made = spelled(gelu(X), X)
    graph = graph_of(swish(made), 17)
    assert operators(to_proto(graph)) == ["Gelu", "Swish"]


OLDER: dict[str, Callable[[], Node]] = {
    "com.microsoft::Gelu": lambda: spelled(gelu(X), X),
    "com.microsoft::FastGelu": lambda: spelled(gelu(X, approximate="tanh"), X),
    "com.microsoft::QuickGelu": lambda: spelled(swish(X, alpha=1.702), X),
    "LayerNormalization": lambda: spelled(layer_normalization(X, S, B), X, S, B),
    "SimplifiedLayerNormalization": lambda: spelled(rms_normalization(X, S), X, S),
}


@pytest.mark.parametrize("name", OLDER)
def test_onnx_runtime_has_them_at_older_opsets(name: str) -> None:
    made = to_proto(graph_of(OLDER[name](), 12), target="ort")
    (node,) = made.graph.node
    assert f"{node.domain}::{node.op_type}".removeprefix("::") == name
    domains = {item.domain: item.version for item in made.opset_import}
    assert domains == ({"": 12, "com.microsoft": 1} if node.domain else {"": 12})
    run(made, feeds_of(graph_of(OLDER[name](), 12)))
    assert all(not node.domain for node in to_proto(graph_of(OLDER[name](), 12)).graph.node)


@pytest.mark.parametrize("rule", list(microsoft.ALL), ids=lambda rule: rule.key)
def test_rules_of_onnx_runtime_fire_refuse_and_agree(rule: Rule) -> None:
    assert rule.fires is not None
    before = rule.fires()
    after = applied(rule, before)
    assert after is not before and after.op.facts.opaque
    assert len(rule.near_misses) == max(1, len(rule.guards))
    for miss in rule.near_misses:
        near = miss()
        assert applied(rule, near) is near
    graph = graph_of(before, 24 if rule.family != "older_swish" else 17)
    made = to_proto(graph_of(after, 17))
    agrees(graph, made)


@pytest.mark.parametrize("level", ["O0", "O2", "O3"])
def test_norms_of_old_opsets_are_written_as_runtimes_look_for_them(
    level: str, tmp_path: Path
) -> None:
    """ONNX Runtime makes one node of what has a Pow, and of nothing else."""
    centred = sub(X, reduce_mean(X, ints(-1)))
    variance = reduce_mean(mul(centred, centred), ints(-1))
    root = add(mul(div(centred, sqrt(add(variance, filled(1e-5)))), S), B)
    made = to_proto(graphopt.optimize(graph_of(root, 13), level))
    assert operators(made).count("Pow") == 1
    agrees(graph_of(root, 13), made)
    runtime: Any = onnxruntime
    options = runtime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "fused.onnx")
    runtime.InferenceSession(made.SerializeToString(), options)
    assert operators(read(tmp_path / "fused.onnx")) == ["LayerNormalization"]


@pytest.mark.parametrize("rule", list(MEANS), ids=lambda rule: rule.key)
def test_what_is_spelled_otherwise_means_the_same(rule: Rule) -> None:
    assert rule.fires is not None
    before = rule.fires()
    after = applied(rule, before)
    assert after is not before
    (near,) = (miss() for miss in rule.near_misses)
    assert applied(rule, near) is near
    agrees(graph_of(before), to_proto(graph_of(after)))


WRITTEN = [rule for rule in IDIOMS if rule.key not in {"attentions.spelled_out"}]
"""The idioms; the example of one is a fused node itself."""


@pytest.mark.parametrize("target", ["portable", "ort"])
@pytest.mark.parametrize("rule", WRITTEN, ids=lambda rule: rule.key)
def test_idioms_run_on_onnx_runtime(rule: Rule, target: str) -> None:
    """Opened where the opset is old, as one operator where it is new: what was computed stays."""
    assert rule.fires is not None
    root = rule.fires()
    made = applied(rule, root)
    assert made.op is fused
    for opset in (18, 24):
        model = to_proto(graph_of(made, 18), opset=opset, target=target)
        if target == "portable":
            check(model)
        agrees(graph_of(root, opset), model)


def test_attention_is_one_operator_of_the_newest_opsets() -> None:
    (rule,) = [rule for rule in IDIOMS if rule.key == "attentions.softmax"]
    assert rule.fires is not None
    made = to_proto(graph_of(applied(rule, rule.fires()), 23))
    assert operators(made) == ["Attention"]


def test_targets_are_known() -> None:
    with pytest.raises(UsageError, match=r"no target is called 'orr' \(did you mean 'ort'"):
        to_proto(graph_of(gelu(X), 20), target="orr")
    (option,) = [a for a in make_parser()._actions if "--target" in a.option_strings]
    assert list(option.choices or ()) == list(targets.TARGETS)


def test_forms_of_a_target_are_understood_operators() -> None:
    from graphopt.ops import table

    for target in targets.TARGETS.values():
        assert all(("", name) in table() for name in target.forms)


def test_save_writes_for_a_target(tmp_path: Path) -> None:
    graph = graph_of(add(gelu(X), X), 20)
    saved = graphopt.save(graph, tmp_path / "m.onnx", target="ort")
    assert saved is not None
    assert operators(read(tmp_path / "m.onnx")) == ["Gelu", "Add"]
    text = graphopt.optimize(graph_of(mul(add(X, X), X)), [Fuse()])
    graphopt.save(text, tmp_path / "m.gir")
    assert graphopt.load(tmp_path / "m.gir").outputs == text.outputs


def test_attention_with_a_mask_to_broadcast_stays_spelled_out() -> None:
    """A mask that lacks rows or columns means another thing to the operator, or fails."""
    q, k, v = (example("float32[2, 2, 3, 4]", name) for name in "qkv")
    (rule,) = [rule for rule in IDIOMS if rule.key == "attentions.softmax"]
    for sizes, whole in (
        ("3, 3", True),
        ("2, 1, 3, 3", True),
        ("2, 1, 1, 3", False),
        ("3, 1", False),
    ):
        scores = matmul(q, transpose(k, perm=(0, 1, 3, 2)))
        root = matmul(softmax(add(scores, example(f"float32[{sizes}]", "m"))), v)
        made = applied(rule, root)
        assert made.op is fused and (form_of(made) is not None) == whole
        agrees(graph_of(root, 23), to_proto(graph_of(made, 23)))


def test_a_model_that_is_opened_again_is_written_as_it_was() -> None:
    loaded = graph("g (float[N, 4] x) => (float[N, 4] y) { a = Cos(x)  y = Exp(a)  z = Exp(a) }")
    made = graphopt.optimize(loaded, [Fuse()], strict=True)
    assert len(made) == 1
    assert to_proto(made).SerializeToString() == to_proto(loaded).SerializeToString()


def test_hard_swish_of_a_convolution_is_written_by_its_gate_or_as_itself() -> None:
    (rule,) = [rule for rule in GATES if rule.key == "gates.product_div"]
    (name,) = [rule for rule in IDIOMS if rule.key == "hard_swishes.hard_sigmoid"]
    assert rule.fires is not None
    made = applied(name, applied(rule, rule.fires()))
    assert operators(to_proto(graph_of(made, 12))) == ["Conv", "HardSigmoid", "Mul"]
    assert operators(to_proto(graph_of(made, 14))) == ["Conv", "HardSwish"]


def test_gelu_is_spelled_as_runtimes_know_it() -> None:
    (rule,) = [rule for rule in IDIOMS if rule.key == "gelu_erf.div_half_inside"]
    assert rule.fires is not None
    made = to_proto(graph_of(applied(rule, rule.fires()), 17))
    assert sorted(operators(made)) == ["Add", "Div", "Erf", "Mul", "Mul"]
    session_nodes = optimized(made)
    assert session_nodes == ["Gelu"]


def optimized(model: onnx.ModelProto) -> list[str]:
    """The operators that ONNX Runtime makes of a model's."""
    runtime: Any = onnxruntime  # it has no types
    with tempfile.TemporaryDirectory() as folder:
        options = runtime.SessionOptions()
        options.optimized_model_filepath = str(Path(folder, "m.onnx"))
        options.log_severity_level = 4
        content = model.SerializeToString()
        runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        return operators(read(Path(folder, "m.onnx")))


def test_the_shell_writes_and_counts_for_a_target(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "g (float[N, 4] x) => (float[N, 4] y) { s = Sigmoid(x)  a = Mul(x, s)  y = Neg(a) }"
    source, result = tmp_path / "m.onnx", tmp_path / "out.onnx"
    graphopt.save(graph(text), source)
    for target, wanted in (("portable", ["Sigmoid", "Mul", "Neg"]), ("ort", ["QuickGelu", "Neg"])):
        options = ["--passes", "fuse", "--target", target, "--json", "--check=1", "-o", str(result)]
        assert main(["opt", str(source), *options]) == 0
        assert operators(read(result)) == wanted
        told = json.loads(capsys.readouterr().out)
        assert told["nodes"] == {"before": 3, "after": len(wanted)}
