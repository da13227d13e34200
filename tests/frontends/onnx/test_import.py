"""What a model means: names, constants, subgraphs, functions, and what is kept as it is."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from graphopt import dims
from graphopt.errors import ModelError
from graphopt.frontends.onnx import from_proto, load
from graphopt.frontends.onnx.external import DataFiles
from graphopt.frontends.onnx.tensors import read_tensor
from graphopt.graph import operations
from graphopt.types import BY_CODE, UNKNOWN, DType, TensorType, Type
from tests.frontends.onnx.models import Array, graph, model


def test_a_source_is_a_path_bytes_or_a_stream(tmp_path: Path) -> None:
    proto = model("g (float[2] x) => (float[2] y) { y = Neg(x) }")
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    loaded = [load(path), load(str(path)), load(path.read_bytes()), from_proto(proto)]
    loaded.append(load(io.BytesIO(path.read_bytes())))
    assert len({one.outputs for one in loaded}) == 1


def test_what_the_file_says_is_remembered() -> None:
    loaded = graph("g (float[N, 3] x) => (float[N, 3] y) { [first] t = Neg(x)  y = Abs(t) }")
    (info, value) = loaded.tables.info, loaded.outputs[0].inputs[0]
    assert info is not None
    assert (info.ir_version, info.opset(), loaded.name) == (8, 17, "g")
    assert loaded.inputs[0].shape == (dims.symbol("N"), 3)
    assert loaded.tables.names[value] == "t"
    (record,) = loaded.tables.records[value]
    assert (record.name, record.inputs, record.outputs) == ("first", ("x",), ("t",))
    assert loaded.untouched


def test_sizes_that_are_not_known_are_not_equal() -> None:
    proto = model("g (float[N, M] x) => (float[N, M] y) { y = Neg(x) }")
    first, second = proto.graph.input[0].type.tensor_type.shape.dim
    first.dim_value, second.dim_param = -1, "?"
    (value,) = from_proto(proto).inputs
    assert value.derived_type == TensorType(DType.FLOAT32, (None, None))
    assert value.shape is not None
    assert value.shape[0] != value.shape[1]


def test_initializers_are_constants_and_equal_ones_are_one() -> None:
    loaded = graph(
        "g (float[2] x) => (float[2] y) <float[2] a = {1, 2}, float[2] b = {1, 2}>"
        "{ t = Add(x, a)  y = Add(t, b) }"
    )
    y = loaded.outputs[0]
    assert y.inputs[1] is y.inputs[0].inputs[1]
    assert y.inputs[1].constant is not None


def test_an_initializer_that_is_an_input_is_a_default_only_from_ir_4_on() -> None:
    proto = model(
        "g (float[2] x, float[2] w) => (float[2] y) <float[2] w = {1, 2}> { y = Add(x, w) }"
    )
    new = from_proto(proto)
    assert new.input_names == ("x", "w")
    assert [tensor.array.tolist() for tensor in new.defaults.values()] == [[1, 2]]
    proto.ir_version = 3
    old = from_proto(proto)
    assert old.input_names == ("x",)
    assert not old.defaults


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ("value = float[2] {1, 2}", np.array([1, 2], np.float32)),
        ("value_float = 1.5", np.float32(1.5)),
        ("value_floats = [1.5, 2.5]", np.array([1.5, 2.5], np.float32)),
        ("value_int = 3", np.int64(3)),
        ("value_ints = [3, 4]", np.array([3, 4])),
        ('value_string = "a"', np.array("a", object)),
        ('value_strings = ["a", "b"]', np.array(["a", "b"], object)),
    ],
)
def test_constant_nodes_in_every_form(attributes: str, expected: Array) -> None:
    kind = {"f": "float", "i": "int64", "O": "string"}[expected.dtype.kind]
    shape = f"[{expected.size}]" if expected.ndim else "[]"
    loaded = graph(f"g () => ({kind}{shape} y) {{ y = Constant <{attributes}> () }}")
    tensor = loaded.outputs[0].constant
    assert tensor is not None
    assert tensor.array.tolist() == expected.tolist()
    assert tensor.shape == expected.shape


@pytest.mark.parametrize("dtype", [dtype for dtype in DType if dtype is not DType.STRING])
@pytest.mark.parametrize("raw", [False, True])
def test_tensors_of_every_dtype(dtype: DType, raw: bool) -> None:
    numbers = np.array([0, 1, 1, 0, 1], np.float32).astype(dtype.numpy).reshape(1, 5)
    proto = numpy_helper.from_array(numbers)
    if not raw:
        items = numbers.reshape(-1)
        if dtype.kind == "c":
            items = items.astype(complex)
        proto = helper.make_tensor("t", dtype.code, (1, 5), items.tolist())
    assert BY_CODE[proto.data_type] is dtype
    assert proto.HasField("raw_data") == raw
    tensor = read_tensor(proto, DataFiles(None))
    assert tensor.array.tobytes() == numbers.tobytes()
    assert tensor.shape == (1, 5)


def test_strings_and_sparse_tensors() -> None:
    strings = TensorProto(data_type=TensorProto.STRING, dims=[2], string_data=[b"a", b"\xff"])
    assert read_tensor(strings, DataFiles(None)).items == [b"a", b"\xff"]
    proto = model("g (float[2, 3] x) => (float[2, 3] y) { y = Add(x, w) }")
    values = helper.make_tensor("w", TensorProto.FLOAT, [2], [5.0, 7.0])
    flat = helper.make_tensor("", TensorProto.INT64, [2], [1, 5])
    pairs = helper.make_tensor("", TensorProto.INT64, [2, 2], [0, 1, 1, 2])
    for indices in (flat, pairs):
        del proto.graph.sparse_initializer[:]
        proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [2, 3]))
        tensor = from_proto(proto).outputs[0].inputs[1].constant
        assert tensor is not None
        assert tensor.array.tolist() == [[0, 5, 0], [0, 0, 7]]


def test_a_left_out_input_in_the_middle_is_absent() -> None:
    loaded = graph('g (float[2] x, float h) => (float[2] y) { y = Clip(x, "", h) }')
    assert [item.is_absent for item in loaded.outputs[0].inputs] == [False, True, False]


def test_outputs_are_counted_up_to_the_last_that_is_named() -> None:
    loaded = graph(
        "g (float[1, 2, 3] x, float[1, 16, 3] w, float[1, 16, 4] r) => (float[1, 2, 4] h)"
        '{ "", h = LSTM <hidden_size = 4> (x, w, r) }'
    )
    (value,) = loaded.outputs
    assert value.attrs["index"] == 1
    assert value.inputs[0].attrs["outputs"] == 2


IF = """
g (bool c, float[N] x) => (float[N] y) {
    k = Constant <value = float {2}> ()
    t = Neg(x)
    y = If (c) <
        then_branch = g1 () => (float[N] a) { a = Mul(t, k) },
        else_branch = g2 () => (float[N] b) { s = Add(x, t)  b = Mul(s, k) }
    >
}
"""


def test_bodies_are_closed_and_share_their_captures() -> None:
    loaded = graph(IF)
    (branching,) = loaded.outputs
    assert [item.op.name for item in branching.inputs] == ["Input", "Neg", "Input"]
    for _, body in branching.bodies:
        assert body.captures == len(body.params) == 2
        assert body.outputs[0].inputs[1].constant is not None, "constants are free"


def test_a_nested_body_captures_through_the_one_around_it() -> None:
    loaded = graph(
        """g (bool c, float[2] x) => (float[2] y) {
            y = If (c) <
                then_branch = g1 () => (float[2] a) {
                    a = If (c) <
                        then_branch = g2 () => (float[2] p) { p = Neg(x) },
                        else_branch = g3 () => (float[2] q) { q = Abs(x) }
                    >
                },
                else_branch = g4 () => (float[2] b) { b = Identity(x) }
            >
        }"""
    )
    outer = dict(loaded.outputs[0].bodies)["then_branch"]
    inner = outer.outputs[0]
    assert inner.op.name == "If"
    assert [item.op.name for item in inner.inputs] == ["Bound", "Bound"]
    assert loaded.outputs[0].shape == (2,)


def test_a_name_in_a_body_hides_the_one_outside() -> None:
    text = IF.replace("s = Add(x, t)  b = Mul(s, k)", "k = Neg(x)  b = Abs(k)")
    loaded = graph(text)
    body = dict(loaded.outputs[0].bodies)["else_branch"]
    assert body.outputs[0].inputs[0].op.name == "Neg"
    assert not loaded.untouched, "names are told apart when it is written"


def test_what_a_branch_does_wrong_is_kept_since_it_may_never_run() -> None:
    text = IF.replace("s = Add(x, t)", "w = Constant <value = int64 {2}> ()  s = Add(x, w)")
    body = dict(graph(text).outputs[0].bodies)["else_branch"]
    assert body.outputs[0].inputs[0].op.facts.opaque


FUNCTIONS = """
<domain: "my", opset_import: ["": 17]>
twice <alpha: float = 2.0> (a, b) => (c, d) {
    k = Constant <value_float: float = @alpha> ()
    t = Mul(a, k)
    c = Add(t, b)
    d = helper(t)
}
<domain: "my", opset_import: ["": 17, "my": 1]>
helper (z) => (w) { w = Neg(z) }
"""
CALLING = "g (float[2] x) => (float[2] y, float[2] z) { y, z = my.twice <alpha = 3.0> (x, x) }"


def test_functions_are_inlined() -> None:
    nested = FUNCTIONS.replace("d = helper", "d = my.helper").replace(
        'opset_import: ["": 17]>\ntwice', 'opset_import: ["": 17, "my": 1]>\ntwice'
    )
    loaded = graph(CALLING, more=', "my": 1', functions=nested)
    y, z = loaded.outputs
    assert (y.op.name, z.op.name) == ("Add", "Neg")
    constant = y.inputs[0].inputs[1].constant
    assert constant is not None
    assert constant.element == 3.0
    assert loaded.output_names == ("y", "z")


def test_unknown_operators_are_kept_with_the_types_that_are_declared() -> None:
    loaded = graph(
        "g (float[2] x) => (float[N] y) <float[2, 7] t> "
        '{ t = my.Odd <level = 3, list = [1.5], name = "é"> (x)'
        "  u = my.Odder(t)  y = my.Oddest(u) }",
        more=', "my": 1',
    )
    oddest = loaded.outputs[0]
    odder = oddest.inputs[0]
    odd = odder.inputs[0]
    assert odd.op.facts.opaque
    assert odd.type == TensorType(DType.FLOAT32, (2, 7))
    assert odder.type == UNKNOWN
    assert (odd.attrs["level"], odd.attrs["list"], odd.attrs["name"]) == (3, (1.5,), "é")


def test_random_nodes_are_never_merged() -> None:
    loaded = graph(
        "g () => (float[2] y) { a = RandomNormal <shape = [2]> ()"
        "  b = RandomNormal <shape = [2]> ()  y = Sub(a, b) }"
    )
    a, b = loaded.outputs[0].inputs
    assert a is not b
    assert a.type == TensorType(DType.FLOAT32, (2,)), "the onnx package tells its type"


def test_training_is_not_understood() -> None:
    loaded = graph(
        "g (float[2] x) => (float[2] y) <float r = {0.5}, bool t = {1}> { y = Dropout(x, r, t) }"
    )
    assert loaded.outputs[0].op.facts.opaque


def test_declared_types_are_not_believed() -> None:
    loaded = graph("g (float[2, 3] x) => (float[7] y) <float[9] t> { t = Neg(x)  y = Abs(t) }")
    assert loaded.outputs[0].shape == (2, 3)


def test_an_output_may_be_an_input_an_initializer_or_another_output() -> None:
    loaded = graph(
        "g (float[2] x) => (float[2] x, float[2] w, float[2] y, float[2] z)"
        "<float[2] w = {1, 2}> { y = Neg(x)  z = Neg(x) }"
    )
    x, w, y, z = loaded.outputs
    assert x is loaded.inputs[0]
    assert w.constant is not None
    assert y is z


def loop(body: str, shape: str = "[1]") -> tuple[Type, ...]:
    """The types of a loop body's parameters; v and k are carried."""
    loaded = graph(
        f"g (int64 n, bool c, float{shape} v, float[N] k) => (float[M] y, float[N] z) {{"
        f"y, z = Loop <body = b (int64 i, bool ci, float vi, float ki) =>"
        f"(bool co, float vo, float ko) {{ co = Identity(ci) {body} }}> (n, c, v, k) }}"
    )
    (_, inner), *_ = loaded.outputs[0].inputs[0].bodies
    return inner.params


def test_what_a_loop_carries_is_widened_until_it_holds_still() -> None:
    still = loop("vo = Neg(vi) ko = Abs(ki)")
    assert still[2:] == (
        TensorType(DType.FLOAT32, (1,)),
        TensorType(DType.FLOAT32, (dims.symbol("N"),)),
    )
    grows = loop("vo = Concat <axis = 0> (vi, vi) ko = Abs(ki)")
    assert grows[2] == TensorType(DType.FLOAT32, (None,))
    mixed = loop("vo = Add(vi, ki) ko = Abs(ki)", "[1]")
    assert mixed[2] == TensorType(DType.FLOAT32, (None,))
    deeper = loop("a = Constant <value = int64[1] {0}> () vo = Unsqueeze(vi, a) ko = Abs(ki)")
    assert deeper[2] == TensorType(DType.FLOAT32, None)
    assert deeper[:2] == (TensorType(DType.INT64, ()), TensorType(DType.BOOL, ()))


def test_a_loop_that_changes_a_dtype_or_drops_a_value_is_refused() -> None:
    with pytest.raises(ModelError, match="Loop of 'y': a value that it carries is float32, then"):
        loop("vo = Cast <to = 7> (vi) ko = Abs(ki)")
    with pytest.raises(ModelError, match="gives its body 3 inputs, it has 4"):
        graph(
            "g (int64 n, bool c, float v) => (float y) { y = Loop <body = b (int64 i, bool ci,"
            "float vi, float ki) => (bool ci, float vi) { }> (n, c, v) }"
        )


def test_a_scan_gives_its_body_slices() -> None:
    loaded = graph(
        "g (float[3] s, float[5, 3] x) => (float[3] t, float[5, 3] y) {"
        "t, y = Scan <num_scan_inputs = 1, body = b (float si, float xi) => (float so, float yo)"
        "{ so = Add(si, xi) yo = Neg(so) }> (s, x) }"
    )
    (_, body), *_ = loaded.outputs[0].inputs[0].bodies
    assert body.params == (TensorType(DType.FLOAT32, (3,)),) * 2


def test_old_opsets_are_upgraded() -> None:
    loaded = graph("g (float[2] x) => (float[2, 1] y) { y = Unsqueeze <axes = [1]> (x) }", opset=11)
    node = loaded.outputs[0]
    assert node.inputs[1].ints == (1,)
    (record,) = loaded.tables.records[node]
    assert record.attributes == (("axes", (1,)),), "the record has the file's own form"


def test_fifty_thousand_nodes_are_not_quadratic() -> None:
    nodes = [
        helper.make_node("Neg" if k % 2 else "Abs", [f"v{k}"], [f"v{k + 1}"]) for k in range(50_000)
    ]
    x = helper.make_tensor_value_info("v0", TensorProto.FLOAT, [2])
    y = helper.make_tensor_value_info("v50000", TensorProto.FLOAT, [2])
    proto = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y]), opset_imports=[helper.make_opsetid("", 17)]
    )
    assert sum(1 for _ in operations(from_proto(proto).nodes)) == 50_000


def test_errors_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(b"")
    with pytest.raises(ModelError, match=f"^{path}: the file is empty$"):
        load(path)
