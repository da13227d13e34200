"""The textual form: what is printed is parsed back to the very same graph; errors say where."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from graphopt.body import Body
from graphopt.errors import TextError
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.op import OPSET
from graphopt.structural import constant, graph_input, results
from graphopt.tensor import Tensor
from graphopt.text import SideFile, parse_graph, print_graph, read_text, write_text
from graphopt.text.words import quote, unquote
from graphopt.types import DType, TensorType
from tests.strategies import F32, TEST_OPS, graphs, join, neg, pair, sizes, texts

X = graph_input("x", F32)
FREE = 'graphopt::Input() {name = "a", type = unknown}'


def parse(text: str) -> Graph:
    """Parse with the ops of the tests."""
    return parse_graph(text, ops=TEST_OPS)


def graph_of(*outputs: Node) -> Graph:
    """A graph of X with outputs y0, y1, …"""
    return Graph((X,), outputs, tuple(f"y{k}" for k in range(len(outputs))))


def lines(graph: Graph) -> list[str]:
    """The lines of a text between the inputs and the outputs."""
    text = print_graph(graph).splitlines()
    return [line for line in text if line.startswith(("%", "_", "  "))]


@given(graphs())
def test_round_trip(graph: Graph) -> None:
    text = print_graph(graph)
    again = parse(text)
    assert again.roots == graph.roots and again.inputs == graph.inputs
    assert again.output_names == graph.output_names and again.name == graph.name
    assert dict(again.defaults) == dict(graph.defaults)
    assert repr(again.tables.info) == repr(graph.tables.info)  # a NaN is not equal to itself
    assert dict(again.tables.names) == dict(graph.tables.names)
    assert repr(sorted_table(again.tables.records)) == repr(sorted_table(graph.tables.records))
    assert dict(again.tables.locations) == dict(graph.tables.locations)
    assert dict(again.tables.derivations) == dict(graph.tables.derivations)
    assert again.tables.origin == graph.tables.origin
    assert print_graph(again) == text
    side = SideFile()
    beside = print_graph(graph, side=side)
    assert parse_graph(beside, side=side, ops=TEST_OPS).roots == graph.roots


def sorted_table(table: Mapping[Node, object]) -> list[object]:
    """The rows of a table in an order that does not depend on how it was made."""
    return [table[node] for node in sorted(table, key=id)]


@settings(max_examples=20)
@given(graphs())
def test_every_text_that_is_cut_is_refused_with_its_place(graph: Graph) -> None:
    text = print_graph(graph)
    for end in range(0, len(text) - 4, max(1, len(text) // 20)):
        if text[:end].strip():
            with pytest.raises(TextError, match=r"^<text>:\d+:\d+: "):
                parse(text[:end] + "\n")


@given(texts)
def test_quoted_text_comes_back(text: str) -> None:
    quoted = quote(text)
    assert unquote(quoted) == text and "\n" not in quoted and quote(text, ascii_only=True).isascii()


@given(sizes())
def test_size_comes_back(size: object) -> None:
    kind = TensorType(DType.INT64, (size,))  # type: ignore[arg-type]  # pyright: ignore
    graph = Graph((graph_input("n", kind),), (), ())
    (again,) = parse(print_graph(graph)).inputs
    assert again.derived_type == kind


def test_outputs_of_a_node() -> None:
    both = pair(X)
    first, second = results(both)
    assert lines(graph_of(second)) == ["_, %0 = test::Pair(%x) : (float32[2], int64[?])"]
    named = lines(graph_of(neg(first), neg(second)))
    assert named[0] == "%0, %1 = test::Pair(%x) : (float32[2], int64[?])"


def test_node_of_several_outputs_has_a_name_where_a_table_refers_to_it() -> None:
    text = (
        "input %x : float32[2]\n"
        "%p = %a, _ = test::Pair(%x)\n"
        "output y = %a\n"
        'locations {\n%p = "f.py" 3\n}\n'
    )
    graph = parse(text)
    (node,) = graph.tables.locations
    assert node is pair(graph.inputs[0]) and graph.tables.names[node] == "p"
    assert parse(print_graph(graph)).tables.locations == graph.tables.locations


def test_names_are_the_names_in_the_tables() -> None:
    graph = parse("input %x : float32[2]\n%y = test::Neg(%x)\n%7 = test::Neg(%y)\noutput z = %7")
    assert list(graph.tables.names.values()) == ["y"]
    assert lines(graph)[1] == "%0 = test::Neg(%y) : float32[2]"


@pytest.mark.parametrize(
    "value", ["1", "true", "1.0", "0.0", "-0.0", "nan", "nan(0x7ff8000000000001)"]
)
def test_attribute_keeps_its_bits(value: str) -> None:
    text = f"%0 = Odd#1() {{a = {value}}} : unknown\noutput y = %0\n"
    assert f"{{a = {value}}}" in print_graph(parse(text))


def test_equal_bodies_and_large_constants_are_written_once() -> None:
    big = constant(np.arange(1000.0))
    x = graph_input("p", F32)
    body = Body.close([x], [], [neg(x), big])
    graph = graph_of(join(X, body=body), join(neg(X), body=body), big)
    text = print_graph(graph)
    assert text.count("return") == 1 and text.count("raw") == 1
    again = parse(text)
    assert again.outputs[0].attrs["body"] is again.outputs[1].attrs["body"]
    assert again.outputs[0].attrs["body"].outputs[1] is again.outputs[2]
    assert print_graph(again) == text


def test_side_file(tmp_path: Path) -> None:
    large = constant(np.arange(1000, dtype=np.float32))
    packed = constant(Tensor.from_raw(DType.INT4, (3001,), bytes(1501)))
    graph = graph_of(
        large, packed, constant([1.0, 2.0]), constant(Tensor.splat(DType.INT8, (10**9,), 3))
    )
    path = tmp_path / "m.gir"
    write_text(graph, path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["m.gir", "m.gir.data"]
    assert path.stat().st_size < 1000
    again = read_text(path)
    for old, new in zip(graph.outputs, again.outputs, strict=True):
        assert old.constant is not None and new.constant is not None
        assert old.constant.dtype is new.constant.dtype
        if not old.constant.is_splat:
            assert old.constant.tobytes() == new.constant.tobytes()
    assert again.outputs[2:] == graph.outputs[2:]
    write_text(again, path)  # over the file that is mapped
    assert read_text(path).outputs[0].constant.digest() == large.attrs["value"].digest()  # type: ignore[union-attr]  # pyright: ignore


def test_side_file_of_another_text_is_refused(tmp_path: Path) -> None:
    one, two = tmp_path / "one.gir", tmp_path / "two.gir"
    write_text(graph_of(constant(np.arange(1000.0))), one)
    write_text(graph_of(constant(np.arange(1000.0) + 1)), two)
    (tmp_path / "two.gir.data").replace(tmp_path / "one.gir.data")
    with pytest.raises(TextError, match=r"one.gir:2:6: the side file belongs to another text"):
        read_text(one)


def test_side_file_that_is_cut_or_gone_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.gir"
    write_text(graph_of(constant(np.arange(1000.0))), path)
    data = tmp_path / "m.gir.data"
    data.write_bytes(data.read_bytes()[:1000])
    with pytest.raises(TextError, match=r"m.gir:5:6: float64\[1000\] takes 8000 bytes, not 936"):
        read_text(path)
    data.unlink()
    with pytest.raises(TextError, match="the text has a side file"):
        read_text(path)


def test_failed_write_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.gir"
    write_text(graph_of(constant(np.arange(1000.0))), path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def fail(*_: object) -> None:
        raise OSError("full")

    monkeypatch.setattr(SideFile, "write", fail)
    with pytest.raises(OSError, match="full"):
        write_text(graph_of(constant(np.ones(1000).cumsum())), path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_text_cut_short_for_readers() -> None:
    node: Node = X
    for _ in range(10):
        node = neg(node)
    text = print_graph(graph_of(node, constant(np.arange(1000.0))), max_lines=4)
    assert "… 7 more nodes" in text and len(text.splitlines()) < 12


@pytest.mark.parametrize(
    ("text", "at", "message"),
    [
        ("%1 = Nege(%x)", "1:6", "no op is called Nege"),
        ("%1 = test::Neq(%x)", "1:6", r"no op is called test::Neq \(did you mean 'test::Neg'"),
        ("%1 = test::Neg(%x)", "1:16", "no value %x is defined"),
        ("input %yy : float32[2]\n%1 = test::Neg(%y)", "2:16", r"no value %y.*did you mean '%yy'"),
        ("input %x : float32[2]\n%x = test::Neg(%x)", "2:1", "%x is defined twice"),
        ("input %x : float32[2]\ninput %x : float32[2]", "2:7", "%x is defined twice"),
        ("input %x : float33[2]", "1:12", "'float33' is not a type"),
        ("input %x : float32[div(N, 0)]", "1:20", "division by 0"),
        ("input %x : float32[2", "1:21", "the text ends where"),
        ('graph "a', "1:7", "the string has no end"),
        ('graph "a\\q"', "1:7", r"unknown escape \\q"),
        ("graphopt 9 opset 1", "1:10", "format 9; this graphopt reads format 1"),
        ("graphopt 1 opset 1", "1:18", f"opset 1; those of this graphopt are of {OPSET}"),
        ("grap a", "1:1", r"did you mean 'graph'"),
        ("%1 = test::Pair()", "1:6", "Pair: 0 inputs"),
        ("%1 = Constant()", "1:6", "attribute 'value' is missing"),
        ("%1 = tensor(uint8[2], [1, 256])", "1:6", "256 does not fit uint8"),
        ("%1 = tensor(uint8[2], [1])", "1:6", "takes 2 elements, not 1"),
        ("%1 = tensor(uint8[N], [1])", "1:6", "the sizes of a constant are numbers"),
        ("%1 = tensor(int8[1], at 64)", "1:6", "in a side file"),
        ("%1 = tensor(float32[1], [a])", "1:6", "could not convert"),
        ("%1 = Odd#1()", "1:13", "an op that is not understood needs its type"),
        ("%1 = graphopt::Barrier(_) {k = 1}", "1:6", "input 'x' is missing"),
        ("%1 = Odd#1() {a = 1, a = 2} : unknown", "1:22", "'a' is given twice"),
        ("%1 = Odd#1() {a = ]} : unknown", "1:19", "the value of an attribute is wanted"),
        ("%1 = Odd#1() {a = &3} : unknown", "1:19", "nothing before here is marked &3"),
        ("%1 = Odd#1() {a = nan(0x0)} : unknown", "1:19", "not the bits of a NaN"),
        ("%1, %2 = Odd#1() : unknown", "1:10", "Odd has 1 outputs, not 2"),
        ("%1 = Odd#1() {a = body() {return %2}} : unknown", "1:34", "no value %2"),
        (f"%1 = Odd#1() {{a = body() {{%2 = {FREE} return %2}}}} : unknown", "1:23", "outside it"),
        ("output y = %y", "1:12", "no value %y"),
        ("info {ir_versio = 3}", "1:6", r"no field 'ir_versio' \(did you mean 'ir_version'"),
        ("end end", "1:5", "nothing more is wanted"),
        ("[" , "1:1", "a node or a section"),
    ],
)  # fmt: skip
def test_error_says_where_and_what(text: str, at: str, message: str) -> None:
    with pytest.raises(TextError, match=f"^<text>:{at}: .*{message}"):
        parse(text)


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ("axiz = 1", r"test::Pair|no attribute 'axiz' \(did you mean 'axis'"),
        ("axis = 1.0", "'axis' of test::Pair takes int"),
        ("axis = true", "'axis' of test::Pair takes int"),
    ],
)
def test_bad_attribute(attribute: str, message: str) -> None:
    with pytest.raises(TextError, match=message):
        parse(f"input %x : float32[2]\n%1 = test::Pair(%x) {{{attribute}}}")


def test_wrong_type_is_refused() -> None:
    with pytest.raises(TextError, match=r"2:23: the type is float32\[2\], not float32\[3\]"):
        parse("input %x : float32[2]\n%1 = test::Neg(%x)    : float32[3]")


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(TextError, match="nested too deeply"):
        parse("%1 = Odd#1() {a = " + "[" * 100_000)


def test_text_does_not_depend_on_hashes() -> None:
    code = (
        "from graphopt.graph import Graph; from graphopt.text import print_graph;"
        "from tests.test_ir import sample;"
        "print(print_graph(Graph((), sample(), tuple('abcde'))))"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            stdout=subprocess.PIPE,
        ).stdout
        for seed in "123"
    }
    assert len(texts) == 1


def test_comments_and_spaces() -> None:
    graph = parse("// one\n  input %x:float32[2] // two\n\noutput y=%x")
    assert graph.outputs == graph.inputs
