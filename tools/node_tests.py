"""Run ONNX's own tests of operators, as each release of ONNX shipped them.

    python -m tools.node_tests            the tests of the installed onnx, in a table
    python -m tools.node_tests 7 13       those of the releases that brought opsets 7 and 13
    python -m tools.node_tests --all      those of opset 7 to the newest
    python -m tools.node_tests --untaken  name the operators that graphopt does not have
    python -m tools.node_tests --run optimized     what O3 makes of each (see `node_runs`)

A test is taken when graphopt has all its operators. Listed are failures that `node_tests.toml` does
not explain. It also says where the tests come from; the wheels are kept in the folder of
`tools/models.py`. Exit status: 0 done, 1 an unexpected result, 2 wrong usage, 3 no such release.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import tomllib
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any, TypeGuard

import ml_dtypes
import numpy as np
import onnx
from onnx import numpy_helper

from graphopt.errors import GraphoptError
from graphopt.op import OPSET
from graphopt.ops import table
from tools import models
from tools.node_runs import AS_THEY_ARE, RUNS, Run, run_reference

PLATFORMS = ("manylinux1", "manylinux2010", "manylinux2014", "manylinux_2_28")


@dataclass(frozen=True)
class Release:
    """The release of ONNX that brought an opset, and the wheel of it that has the tests."""

    version: str
    python: str
    sha256: str

    @property
    def path(self) -> Path:
        """Where the wheel lies once fetched."""
        return models.cache() / f"onnx-{self.version}.whl"

    def fetch(self) -> Path:
        """The wheel, downloaded unless it lies there. Raises FetchError."""
        if not self.path.is_file() or models.digest(self.path) != self.sha256:
            target = [f"--platform={platform}_x86_64" for platform in PLATFORMS]
            with tempfile.TemporaryDirectory() as folder:
                options = [f"--python-version={self.python}", *target]
                wheel = models.download(f"onnx=={self.version}", Path(folder), options)
                if (found := models.digest(wheel)) != self.sha256:
                    message = f"sha256 of {wheel.name} is {found}, expected {self.sha256}"
                    raise models.FetchError(message)
                models.write(self.path, wheel.read_bytes())
        return self.path


@dataclass(frozen=True)
class Excuse:
    """Tests that are taken and yet cannot pass: a pattern of names, the opsets, and why."""

    tests: str
    opsets: tuple[int, int]
    reason: str

    def covers(self, name: str, opset: int) -> bool:
        """Whether it speaks of this test of this release."""
        return self.opsets[0] <= opset <= self.opsets[1] and fnmatch(name, self.tests)


def _tables() -> tuple[dict[int, Release], list[Excuse]]:
    text = Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
    found = tomllib.loads(text)
    releases = {int(opset): Release(**fields) for opset, fields in found["releases"].items()}
    first_last = ((fields, tuple(fields.pop("opsets"))) for fields in found["exceptions"])
    return releases, [Excuse(opsets=opsets, **fields) for fields, opsets in first_last]


RELEASES, EXCUSES = _tables()


def excused(name: str, opset: int) -> bool:
    """Whether it is known why a test cannot pass."""
    return any(excuse.covers(name, opset) for excuse in EXCUSES)


DataSet = tuple[list[Any], list[Any]]
"""Inputs, and the outputs that are expected of them."""

RENAMED = {"Scatter": "ScatterElements", "Upsample": "Resize"}
"""Operators that newer opsets call otherwise."""


@dataclass(frozen=True)
class NodeTest:
    """A model, and what reads the pairs of inputs and the outputs that are expected of them."""

    name: str
    model: onnx.ModelProto
    data: Callable[[], Sequence[DataSet]]
    rtol: float = 1e-3
    atol: float = 1e-7

    @property
    def ops(self) -> frozenset[tuple[str, str]]:
        """The operators of the model, (domain, name) each, those of subgraphs included."""
        return frozenset(_ops(self.model.graph))

    @property
    def untaken(self) -> frozenset[tuple[str, str]]:
        """The operators that graphopt does not have."""
        return frozenset(
            (domain, name)
            for domain, name in self.ops
            if (domain, RENAMED.get(name, name)) not in table()
        )


def _ops(graph: onnx.GraphProto) -> Iterator[tuple[str, str]]:
    for node in graph.node:
        yield ("" if node.domain == "ai.onnx" else node.domain, node.op_type)
        for attribute in node.attribute:
            yield from _ops(attribute.g)


def tests(opset: int) -> Iterator[NodeTest]:
    """The tests of the release that brought an opset; of the installed one for the newest."""
    release = RELEASES.get(opset)
    return installed() if release is None else shipped(release.fetch())


KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator")
"""The suites that come with the data of their models: single operators, and small models."""


def installed() -> Iterator[NodeTest]:
    """The tests of the installed package."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they divide by zero on purpose
        cases = [case for kind in KINDS for case in load_model_tests(kind=kind)]
    for case in cases:
        if case.model_dir is None:
            assert case.model is not None and case.data_sets is not None
            data = partial(_plain, case.data_sets)
            yield NodeTest(case.name, case.model, data, case.rtol, case.atol)
        else:
            yield from _unpacked(Path(case.model_dir), case.name)


def _unpacked(folder: Path, name: str) -> Iterator[NodeTest]:
    """A test whose files lie in a folder."""
    files = {str(path): path for path in folder.rglob("*.pb")}
    model = onnx.ModelProto.FromString((folder / "model.onnx").read_bytes())
    messages = list(_messages(lambda path: files[path].read_bytes(), files, str(folder), model))
    yield NodeTest(name, model, partial(_parsed, messages))


def _plain(data_sets: Sequence[tuple[Sequence[Any], Sequence[Any]]]) -> list[DataSet]:
    """Data sets whose tensors are arrays; of dtypes that NumPy lacks they are messages at first."""

    def array(value: Any) -> Any:
        return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value

    return [([*map(array, inputs)], [*map(array, outputs)]) for inputs, outputs in data_sets]


def shipped(wheel: Path) -> Iterator[NodeTest]:
    """The tests in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        files = frozenset(archive.namelist())
        for file in sorted(files):
            folder, _, name = file.rpartition("/")
            if "backend/test/data/node/" in file and name == "model.onnx":
                model = onnx.ModelProto.FromString(archive.read(file))
                messages = list(_messages(archive.read, files, folder, model))
                yield NodeTest(folder.rpartition("/")[2], model, partial(_parsed, messages))


Messages = list[tuple[onnx.TypeProto, bytes]]
"""Values that are not parsed yet: the data of some tests cannot be."""


def _messages(
    read: Callable[[str], bytes], files: Container[str], folder: str, model: onnx.ModelProto
) -> Iterator[tuple[Messages, Messages]]:
    def stored(k: int, what: str, ports: Iterable[onnx.ValueInfoProto]) -> Messages:
        paths = ((p, f"{folder}/test_data_set_{k}/{what}_{j}.pb") for j, p in enumerate(ports))
        return [(port.type, read(path)) for port, path in paths if path in files]

    for k in range(1000):
        outputs = stored(k, "output", model.graph.output)
        if not outputs:
            return
        yield stored(k, "input", model.graph.input), outputs


def _parsed(messages: Sequence[tuple[Messages, Messages]]) -> list[DataSet]:
    return [
        ([_read(*pair) for pair in inputs], [_read(*pair) for pair in outputs])
        for inputs, outputs in messages
    ]


def _read(kind: onnx.TypeProto, content: bytes) -> Any:
    match kind.WhichOneof("value"):
        case "sequence_type":
            return numpy_helper.to_list(onnx.SequenceProto.FromString(content))
        case "optional_type":
            return numpy_helper.to_optional(onnx.OptionalProto.FromString(content))
        case _:
            array = numpy_helper.to_array(onnx.TensorProto.FromString(content))
            if array.dtype == np.uint16 and kind.tensor_type.elem_type == onnx.TensorProto.BFLOAT16:
                return array.view(ml_dtypes.bfloat16)  # as releases before bfloat16 was stored
            return array


def check(test: NodeTest, run: Run = run_reference) -> None:
    """Run a test. Raises AssertionError when an output differs, and what `run` raises."""
    for inputs, wanted in test.data():
        feeds = dict(zip((port.name for port in test.model.graph.input), inputs, strict=False))
        found = run(test.model, feeds)
        assert len(found) == len(wanted), f"{len(found)} outputs, not {len(wanted)}"
        for one, other in zip(found, wanted, strict=True):
            compare(one, other, test.rtol, test.atol)


def is_list(value: Any) -> TypeGuard[list[Any]]:
    """Whether a value is a list; ONNX's sequences are."""
    return isinstance(value, list)


def compare(found: Any, wanted: Any, rtol: float, atol: float) -> None:
    """Raise AssertionError unless two values are of one type and as good as equal."""
    if is_list(wanted):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            compare(one, other, rtol, atol)
        return
    if wanted is None:
        assert found is None
        return
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.shape == wanted.shape, f"shape {found.shape}, not {wanted.shape}"
    if wanted.dtype.kind in "OUST":
        np.testing.assert_array_equal(found.astype(str), wanted.astype(str))
        return
    assert found.dtype == wanted.dtype, f"dtype {found.dtype}, not {wanted.dtype}"
    if wanted.dtype.isbuiltin != 1:  # ml_dtypes; ONNX's runner too allows bfloat16 two ulps
        rtol = max(rtol, 2**-6) if wanted.dtype.name == "bfloat16" else rtol
        found, wanted = found.astype(np.float32), wanted.astype(np.float32)
    np.testing.assert_allclose(found, wanted, rtol=rtol, atol=atol)


@dataclass
class Report:
    """What came of the tests of a release."""

    total: int = 0
    passed: int = 0
    failed: dict[str, str] = field(default_factory=dict[str, str])
    untaken: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])

    @property
    def taken(self) -> int:
        """How many tests have only operators that graphopt has."""
        return self.passed + len(self.failed)


def report(opset: int, run: Run = run_reference) -> Report:
    """Run all tests of the release that brought an opset. Raises FetchError."""
    made = Report()
    for test in tests(opset):
        made.total += 1
        if test.untaken:
            made.untaken.update(test.untaken)
            continue
        try:
            check(test, run)
        except (AssertionError, GraphoptError, UnicodeDecodeError) as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            made.failed[test.name] = " ".join(lines)[:160]
        else:
            made.passed += 1
    return made


def unexpected(opset: int, made: Report) -> dict[str, str]:
    """Failures that nothing excuses; what is wrong, by name."""
    return {name: text for name, text in made.failed.items() if not excused(name, opset)}


def needless(opset: int, made: Report) -> dict[str, str]:
    """Excuses that nothing needs, as far as models are run as they are; what is wrong, by name."""
    return {
        excuse.tests: "the exception is not needed"
        for excuse in EXCUSES
        if excuse.opsets[0] <= opset <= excuse.opsets[1]
        and not any(excuse.covers(name, opset) for name in made.failed)
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = argparse.ArgumentParser(description="Run ONNX's own tests of single operators.")
    parser.add_argument("opsets", nargs="*", type=int, metavar="OPSET", help="7 to the newest")
    parser.add_argument("--all", action="store_true", help="all opsets")
    parser.add_argument("--untaken", action="store_true", help="name operators that are missing")
    parser.add_argument("--run", choices=RUNS, default="reference", help="how: see node_runs")
    options = parser.parse_args(arguments)
    known = [*RELEASES, OPSET]
    opsets: list[int] = known if options.all else options.opsets or [OPSET]
    if not set(opsets) <= set(known):
        parser.error(f"opsets are {known[0]} to {known[-1]}")
    print(f"{'opset':>5} {'onnx':9} {'tests':>6} {'taken':>6} {'passed':>6} {'failed':>6}")
    status = 0
    for opset in opsets:
        version = RELEASES[opset].version if opset in RELEASES else onnx.__version__
        try:
            made = report(opset, RUNS[options.run])
        except (models.FetchError, OSError) as error:
            print(f"node_tests: {error}", file=sys.stderr)
            return 3
        numbers = f"{made.total:6} {made.taken:6} {made.passed:6}"
        print(f"{opset:5} {version:9} {numbers} {len(made.failed):6}", flush=True)
        bad = unexpected(opset, made)
        if options.run in AS_THEY_ARE:
            bad |= needless(opset, made)
        for name, text in bad.items():
            print(f"      {name}: {text}")
        status = max(status, int(bool(bad)))
        if options.untaken:
            names = (
                f"{name or domain} ({count})"
                for (domain, name), count in made.untaken.most_common()
            )
            print(f"      untaken: {', '.join(names)}")
    return status


if __name__ == "__main__":
    sys.exit(main())
