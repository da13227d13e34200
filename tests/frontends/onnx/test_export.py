"""How a graph is written: as it was, or in canonical order with the names it can keep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from onnx import TensorProto, helper

from graphopt.body import Body
from graphopt.errors import UnsupportedError
from graphopt.frontends.onnx import load, save, to_proto
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.ops import table
from graphopt.records import Derivation, ModelInfo
from graphopt.structural import barrier, constant, graph_input, refine
from graphopt.tensor import Tensor
from graphopt.types import DType, TensorType
from tests.frontends.onnx.models import (
    assert_same,
    changed,
    check,
    graph,
    model,
    operators,
    run,
    written,
)

X = graph_input("x", TensorType(DType.FLOAT32, (2,)))
TWO = np.array([1.5, -2.5], np.float32)


def op(name: str) -> Callable[..., Node]:
    """An op of ai.onnx."""
    return table()["", name]


def test_an_untouched_graph_is_written_as_it_was() -> None:
    proto = model(
        "g (float[N] x, float[N] unused) => (float[N] y) <float[1] a = {1}, float[1] b = {1}> {"
        '[one] t = Add(x, a)  [two] u = Add(x, b)  [dead] d = Neg(t)  [z] y = Clip(u, "", "") }'
    )
    proto.doc_string, proto.graph.doc_string = "model", "graph"
    proto.graph.node[0].doc_string = "node"
    proto.metadata_props.add(key="k", value="v")
    proto.graph.node[1].metadata_props.add(key="n", value="m")
    proto.graph.value_info.append(helper.make_tensor_value_info("t", TensorProto.FLOAT, ["N"]))
    made = written(load(proto.SerializeToString()))
    for node in (*proto.graph.node, *made.graph.node):
        node.ClearField("domain")
    assert list(made.graph.node) == list(proto.graph.node)
    for field in ("input", "output", "value_info", "doc_string", "name"):
        assert getattr(made.graph, field) == getattr(proto.graph, field)
    assert [item.name for item in made.graph.initializer] == ["a", "b"]
    for field in ("opset_import", "ir_version", "metadata_props", "doc_string"):
        assert getattr(made, field) == getattr(proto, field)


def test_a_changed_graph_keeps_what_names_it_can() -> None:
    given = graph(
        "g (float[N] x, float[N] unused) => (float[N] y) <float[1] a = {1}, float[1] b = {1}> {"
        "[one] t = Add(x, a)  [two] u = Add(x, b)  [dead] d = Neg(t)  [z] y = Mul(t, u) }"
    )
    made = written(changed(given))
    assert [(n.op_type, n.name, *n.input, *n.output) for n in made.graph.node] == [
        ("Add", "one", "x", "a", "t"),
        ("Mul", "z", "t", "t", "y"),
    ]
    assert [item.name for item in made.graph.input] == ["x", "unused"]
    assert made.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"


def test_a_value_takes_the_name_of_what_it_replaced() -> None:
    given = graph("g (float[2] x) => (float[2] y) { [n] t = Neg(x)  [m] y = Abs(t) }")
    (old,) = given.outputs
    new_t = op("Relu")(given.inputs[0])
    made = given.with_outputs([op("Abs")(new_t)], {new_t: Derivation("test", (old.inputs[0],))})
    (first, second) = written(made).graph.node
    assert (first.name, first.op_type, list(first.output)) == ("n", "Relu", ["t"])
    assert list(second.output) == ["y"]


def test_new_names_never_collide() -> None:
    given = graph("g (float[2] Neg_0) => (float[2] Neg_1) { Neg_1 = Abs(Neg_0) }")
    x = given.inputs[0]
    made = written(given.with_outputs([op("Relu")(op("Neg")(op("Neg")(op("Abs")(x))))]))
    names = [name for node in made.graph.node for name in node.output]
    assert len(set(names)) == len(names) == 4
    assert names[-1] == "Neg_1"


def test_outputs_that_are_inputs_constants_or_twice_the_same() -> None:
    k = constant(np.array([1, 2], np.float32))
    y = op("Neg")(X)
    given = Graph((X,), (X, X, k, k, y, y), ("x", "x2", "k", "k2", "y", "y2"))
    made = written(given)
    assert operators(made) == ["Neg", "Identity", "Identity", "Identity"]
    assert [item.name for item in made.graph.initializer] == ["k"]
    results = run(made, {"x": TWO})
    assert_same(
        results,
        [TWO, TWO, *[np.array([1, 2], np.float32)] * 2, -TWO, -TWO],
    )


def test_large_splats_stay_small() -> None:
    big = constant(Tensor.splat(DType.FLOAT32, (1000, 1000), 2.0))
    y = op("Add")(graph_input("x", TensorType(DType.FLOAT32, ())), big)
    made = written(Graph(y.inputs[:1], (y,), ("y",)))
    assert operators(made) == ["ConstantOfShape", "Add"]
    assert made.ByteSize() < 500
    assert run(made, {"x": np.array(1, np.float32)})[0][0, 0] == 3
    old = Graph(y.inputs[:1], (y,), ("y",))
    assert operators(to_proto(old, opset=8)) == ["Add"], "opset 9 brought ConstantOfShape"


def test_defaults_are_written_as_initializers_of_inputs() -> None:
    given = graph(
        "g (float[2] x, float[2] w) => (float[2] y) <float[2] w = {1, 2}> { y = Add(x, w) }"
    )
    for one in (given, changed(given)):
        made = written(one)
        assert [item.name for item in made.graph.input] == ["x", "w"]
        assert [item.name for item in made.graph.initializer] == ["w"]


def test_repeated_inputs_of_ir_3_are_dropped() -> None:
    given = graph(
        "g (float[2] x, float[2] w) => (float[2] y) <float[2] w = {1, 2}> { y = Add(x, w) }", ir=3
    )
    for one in (given, changed(given)):
        made = written(one)
        assert made.ir_version == 4
        assert [item.name for item in made.graph.input] == ["x"]


def test_declared_output_types_stay_where_they_do_not_contradict() -> None:
    given = graph(
        "g (float[2, 3] x) => (float[M, M] y, float[7] z) { y = my.Odd(x)  z = Neg(x) }",
        more=', "my": 1',
    )
    for one in (given, changed(given)):
        y, z = to_proto(one).graph.output
        assert [dim.dim_param for dim in y.type.tensor_type.shape.dim] == ["M", "M"]
        assert [dim.dim_value for dim in z.type.tensor_type.shape.dim] == [2, 3]


def test_the_opset_is_the_own_and_raised_only_as_far_as_needed() -> None:
    given = graph("g (float[2] x) => (float[2] y) { y = Neg(x) }", opset=9, ir=4)
    assert written(changed(given)).opset_import[0].version == 9
    newer = given.with_outputs([op("Gelu")(given.outputs[0])])
    made = written(newer)
    assert made.opset_import[0].version == 20
    assert made.ir_version == 9
    with pytest.raises(UnsupportedError, match="cannot be written at opset 19: .*Gelu"):
        to_proto(newer, opset=19)
    with pytest.raises(UnsupportedError, match="opset 5"):
        to_proto(newer, opset=5)


def test_dtypes_raise_opset_and_ir_version() -> None:
    given = graph("g (float[2] x) => (float[2] y) { y = Neg(x) }", opset=12, ir=5)
    wide = op("Cast")(given.inputs[0], to=DType.BFLOAT16)
    made = written(given.with_outputs([op("Cast")(op("Neg")(wide), to=DType.FLOAT32)]))
    assert made.opset_import[0].version == 13
    eight = op("Cast")(given.inputs[0], to=DType.FLOAT8E5M2)
    made = written(given.with_outputs([op("Cast")(eight, to=DType.FLOAT32)]))
    assert (made.opset_import[0].version, made.ir_version) == (19, 9)


def test_save_says_what_it_did(tmp_path: object) -> None:
    import io

    given = graph("g (float[2] x) => (float[2] y) { [n] y = Neg(x) }", opset=9, ir=4)
    saved = save(given.with_outputs([op("Gelu")(given.outputs[0])]), io.BytesIO())
    assert (saved.opset, saved.ir_version, saved.data_file) == (20, 9, None)
    assert "Gelu" in saved.raised_by


def test_old_forms_are_written_at_old_opsets() -> None:
    given = graph("g (float[2] x) => (float[2, 1] y) { y = Unsqueeze <axes = [1]> (x) }", opset=11)
    (node,) = written(changed(given)).graph.node
    assert list(node.input) == ["x"]
    assert list(node.attribute[0].ints) == [1]
    (newer,) = written(given, opset=13).graph.node
    assert len(newer.input) == 2


IF = """
g (bool c, float[2] x) => (float[2] y) {
    k = Constant <value = float {2}> ()
    t = Neg(x)
    y = If (c) <
        then_branch = g1 () => (float[2] a) { a = Identity(t) },
        else_branch = g2 () => (float[2] b) { s = Add(x, t)  b = Mul(s, k) }
    >
}
"""


def test_bodies_are_written_with_names_of_their_own() -> None:
    given = graph(IF)
    made = written(changed(given))
    inner = [
        name
        for attribute in made.graph.node[-1].attribute
        for node in attribute.g.node
        for name in node.output
    ]
    assert len(set(inner)) == len(inner) == 3
    for c in (True, False):
        feeds = {"c": np.array(c), "x": TWO}
        assert_same(run(made, feeds), run(model(IF), feeds))


def test_a_body_that_hands_on_what_it_captures() -> None:
    c = graph_input("c", TensorType(DType.BOOL, ()))
    one = Body.close((), (X,), (X,))
    other = Body.close((), (X,), (constant(np.array([1, 2], np.float32)),))
    y = op("If")(c, X, then_branch=one, else_branch=other)
    made = written(Graph((c, X), (y,), ("y",)))
    assert run(made, {"c": np.array(True), "x": TWO})[0].tolist() == TWO.tolist()
    assert run(made, {"c": np.array(False), "x": TWO})[0].tolist() == [1, 2]


def test_constants_of_bodies_stand_outside_only_if_large() -> None:
    c = graph_input("c", TensorType(DType.BOOL, ()))
    wide = graph_input("w", TensorType(DType.FLOAT32, (1000,)))
    big = constant(np.arange(1000, dtype=np.float32))
    branches = [Body.close((), (wide,), (op(name)(wide, big),)) for name in ("Add", "Mul")]
    y = op("If")(c, wide, then_branch=branches[0], else_branch=branches[1])
    made = written(Graph((c, wide), (y,), ("y",)))
    assert len(made.graph.initializer) == 1
    assert made.ByteSize() < 5000


def test_a_constant_that_a_body_shares_with_its_surroundings_is_written_once() -> None:
    c = graph_input("c", TensorType(DType.BOOL, ()))
    two = constant(TWO)
    branches = [Body.close((), (X,), (op(name)(X, two),)) for name in ("Add", "Mul")]
    y = op("If")(c, X, then_branch=branches[0], else_branch=branches[1])
    made = written(Graph((c, X), (op("Sub")(y, two),), ("y",)))
    inner = [item.g.initializer for item in made.graph.node[0].attribute]
    assert len(made.graph.initializer) == 1 and not any(inner)
    alone = written(Graph((c, X), (y,), ("y",)))
    assert not alone.graph.initializer


def test_opaque_nodes_are_written_unchanged() -> None:
    proto = model(
        "g (bool c, float[2] x) => (float[2] y) <float[2] t> {"
        '[n] t, "", u = my.Odd <level = 3, list = [1.5], name = "é", types = 1, body = '
        'b (float[2] p) => (float[2] q) { q = Add(p, x) }> (x, "", c)'
        "  y = Add(t, u) }",
        more=', "my": 4',
    )
    given = load(proto.SerializeToString())
    for one in (given, changed(given)):
        made = to_proto(one)
        node = made.graph.node[0]
        assert list(node.input) == ["x", "", "c"]
        assert len(node.output) == 3 and not node.output[1]
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        body = attributes.pop("body")
        assert attributes == {"level": 3, "list": [1.5], "name": "é".encode(), "types": 1}
        assert body.node[0].input[1] == "x"
        assert {item.domain: item.version for item in made.opset_import} == {"": 17, "my": 4}
        check(made)


def test_an_opaque_operator_does_not_change_its_opset() -> None:
    random = "g () => (float[2] y) { y = RandomNormal <shape = [2]> () }"
    given = graph(random, opset=13)
    assert operators(to_proto(given, opset=14)) == ["RandomNormal"]
    with pytest.raises(UnsupportedError, match="RandomNormal.*differs between opsets 13 and 22"):
        to_proto(given, opset=22)


def test_nodes_that_only_pass_on_leave_no_trace() -> None:
    kind = TensorType(DType.FLOAT32, (2,))
    y = op("Neg")(barrier(refine(op("Abs")(X), type=kind), k=1))
    assert operators(written(Graph((X,), (y,), ("y",)))) == ["Abs", "Neg"]


def test_effects_have_no_form() -> None:
    given = Graph((X,), (X,), ("y",), effects=(op("Neg")(X),))
    with pytest.raises(UnsupportedError, match="effects"):
        to_proto(given)


def test_a_renamed_output_is_written_under_its_new_name() -> None:
    given = replace(graph("g (float[2] x) => (float[2] y) { y = Neg(x) }"), output_names=("z",))
    assert [item.name for item in written(given).graph.output] == ["z"]


def test_inlined_functions_are_written_as_nodes() -> None:
    functions = """
        <domain: "my", opset_import: ["": 17]> twice <alpha: float = 2.0> (c, a) => (b, a2) {
            k = Constant <value_float: float = @alpha> ()
            b = If (c) <
                then_branch = t () => (float[2] p) { p = Mul(a, k) },
                else_branch = e () => (float[2] q) { k2 = Neg(k)  q = Mul(a, k2) }
            >
            a2 = Identity(a)
        }"""
    proto = model(
        "g (bool c, float[2] k) => (float[2] y, float[2] z, float[2] w) {"
        "[m] t, z = my.twice(c, k)  [m2] y, w = my.twice <alpha = 3.0> (c, t) }",
        more=', "my": 1',
        functions=functions,
    )
    given = load(proto.SerializeToString())
    for one in (given, changed(given)):
        made = written(one)
        assert {item.domain for item in made.opset_import} == {""}
        for c in (True, False):
            feeds = {"c": np.array(c), "k": TWO}
            assert_same(run(made, feeds), run(proto, feeds))


def test_quantization_annotations_are_kept_while_they_are_true() -> None:
    proto = model("g (float[2] x) => (float[2] y) <float s = {1}> { t = Neg(x)  y = Mul(t, s) }")
    item = proto.graph.quantization_annotation.add(tensor_name="t")
    item.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="s")
    given = load(proto.SerializeToString())
    for one in (given, changed(given)):
        assert to_proto(one).graph.quantization_annotation == proto.graph.quantization_annotation
    assert not to_proto(given.with_outputs(given.inputs)).graph.quantization_annotation


def test_a_graph_that_was_never_a_file() -> None:
    made = written(Graph((X,), (op("Neg")(X),), ("y",)))
    assert made.ir_version == ModelInfo().ir_version
    assert made.opset_import[0].version == 22
