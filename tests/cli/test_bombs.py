"""Models that only look dangerous are optimized without being set off."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper

from tests.cli.conftest import Run
from tests.cli.spent import MAX_KIB, MAX_SECONDS, Array, Make, measured, place, written
from tests.frontends.onnx.models import model


def bomb(text: str, **tensors: Any) -> Make:
    """A model that says y = ... of large sizes, with tensors as initializers."""

    def make(folder: Path) -> bytes:
        proto = model(f"g (float[1] x) => (float[n] y) {{ {text} }}", opset=19)
        for name, value in tensors.items():
            array: Array = np.asarray(value, None if hasattr(value, "dtype") else np.int64)
            proto.graph.initializer.append(numpy_helper.from_array(array, name))
        return written(proto)

    return make


GIGA, TERA = 10**9, 10**12
MEGA = np.ones((10**6, 1), np.float32)
PEAK = "s = ReduceMax <keepdims = 0> (c) y = Add(x, s)"
BOMBS: dict[str, Make] = {
    "ConstantOfShape": bomb(f"c = ConstantOfShape(n) {PEAK}", n=[TERA]),
    "ConstantOfShape as an output": bomb("c = ConstantOfShape(n) y = Add(x, c)", n=[TERA]),
    "ConstantOfShape of 2^63 - 1": bomb(f"c = ConstantOfShape(n) {PEAK}", n=[(1 << 63) - 1]),
    "ConstantOfShape of 2^120": bomb(f"c = ConstantOfShape(n) {PEAK}", n=[1 << 60, 1 << 60]),
    "Expand": bomb(f"c = Expand(a, n) {PEAK}", n=[TERA], a=np.ones(1, np.float32)),
    "Expand of a drawn input": bomb("c = Expand(x, n) y = Neg(c)", n=[TERA]),
    "Tile": bomb(f"c = Tile(a, n) {PEAK}", n=[TERA], a=np.arange(2, dtype=np.float32)),
    "Range": bomb(f"r = Range(a, n, b) c = Cast <to = 1> (r) {PEAK}", a=0, n=TERA, b=1),
    "Range of tiny steps": bomb(
        f"c = Range(a, n, b) {PEAK}",
        a=np.array(0, np.float32),
        n=np.array(1e30, np.float32),
        b=np.array(1e-30, np.float32),
    ),
    "Pad": bomb(f"c = Pad(a, n) {PEAK}", n=[0, TERA], a=np.arange(2, dtype=np.float32)),
    "Resize": bomb(
        f"c = Resize(a, , , n) {PEAK}", n=[1, 1, TERA], a=np.ones((1, 1, 2), np.float32)
    ),
    "Resize by scales": bomb(
        f"c = Resize(a, , n) {PEAK}",
        n=np.array([1, 1, 1e12], np.float32),
        a=np.ones((1, 1, 2), np.float32),
    ),
    "MatMul": bomb(f"c = MatMul(a, b) {PEAK}", a=MEGA, b=MEGA.T.copy()),
    "Add that broadcasts": bomb(f"c = Add(a, b) {PEAK}", a=MEGA, b=MEGA.T.copy()),
    "OneHot": bomb(f"c = OneHot(i, n, v) {PEAK}", i=[0, 1], n=TERA, v=np.array([0, 1], np.float32)),
    "Concat that doubles": bomb(
        "c0 = Concat <axis = 0> (a, a) "
        + " ".join(f"c{k + 1} = Concat <axis = 0> (c{k}, c{k})" for k in range(45))
        + " c = Concat <axis = 0> (c45, a) "
        + PEAK,
        a=np.arange(3, dtype=np.float32),
    ),
    "Add of symbols that doubles": bomb(
        "c0 = Concat <axis = 0> (x, x) "
        + " ".join(f"c{k + 1} = Concat <axis = 0> (c{k}, c{k})" for k in range(70))
        + " c = Neg(c70) "
        + PEAK,
    ),
    "ReduceMax of one number": bomb(f"c = ConstantOfShape(n) {PEAK}", n=[3 * 10**9]),
    "MatMul of one number": bomb(
        "a = ConstantOfShape(m) b = ConstantOfShape(n) c = MatMul(a, b) y = Add(x, c)",
        m=[1, 1 << 30],
        n=[1 << 30, 1],
    ),
    "Conv that is dilated": bomb(
        f"c = Conv <pads = [{GIGA}, 0], dilations = [{GIGA}]> (a, b) {PEAK}",
        a=np.ones((1, 1, 1), np.float32),
        b=np.ones((1, 1, 2), np.float32),
    ),
    "Conv that is padded": bomb(
        f"c = Conv <pads = [{GIGA}, {GIGA}], strides = [{GIGA}]> (a, a) {PEAK}",
        a=np.ones((1, 1, 1), np.float32),
    ),
    "AveragePool that is padded": bomb(
        f"c = AveragePool <kernel_shape = [{GIGA}], pads = [{GIGA - 1}, {GIGA - 1}],"
        f" strides = [{GIGA}]> (a) {PEAK}",
        a=np.ones((1, 1, 2), np.float32),
    ),
    "strings": bomb(
        f"t = Expand(a, n) e = Equal(t, t) c = Cast <to = 1> (e) {PEAK}",
        n=[2 * 10**9],
        a=np.array(["a"]),
    ),
    "two of one size": bomb(
        "a = ConstantOfShape(n) b = ConstantOfShape <value = float[1] {1}> (n) d = Add(x, a)"
        f" e = Add(x, b) c = Concat <axis = 0> (d, e) {PEAK}",
        n=[10**10],
    ),
    "Loop of 2^62 trips": bomb(
        "c = Loop (n, t, a) <body = b (int64 i, bool p, float[1] v) => (bool q, float[1] w)"
        f" {{ q = Identity(p) w = Neg(v) }}> {PEAK}",
        n=1 << 62,
        t=np.array(True),
        a=np.ones(1, np.float32),
    ),
    "Einsum": bomb(
        f'c = Einsum <equation = "a,b->ab"> (a, b) {PEAK}',
        a=MEGA.reshape(-1),
        b=MEGA.reshape(-1),
    ),
    "Hann window": bomb(f"c = HannWindow(n) {PEAK}", n=TERA),
    "EyeLike": bomb(f"o = ConstantOfShape(n) c = EyeLike(o) {PEAK}", n=[1 << 20, 1 << 20]),
    "integer division of the least by -1": bomb(
        "d = Div(a, b) c = Cast <to = 1> (d) " + PEAK, a=[-(1 << 63), 5], b=[-1, 0]
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bomb_is_not_set_off(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    place(tmp_path, BOMBS[name])
    start = time.process_time()
    done = run("bad.onnx", "-o", "out.onnx", "-O3")
    assert time.process_time() - start < MAX_SECONDS
    assert (done.status, "remark" in done.err) == (0, False)
    assert (tmp_path / "out.onnx").stat().st_size < 10**8
    assert run("out.onnx", "-q").status == 0


@pytest.mark.parametrize("name", ["ConstantOfShape", "MatMul", "Concat that doubles"])
def test_bombs_cost_little(tmp_path: Path, name: str) -> None:
    place(tmp_path, BOMBS[name])
    done = measured(tmp_path)
    assert done.status == 0
    assert (done.seconds < MAX_SECONDS, done.kib < MAX_KIB) == (True, True)
