"""The notebooks: valid, committed without outputs, and every cell runs and shows what it says."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

formats: Any = nbformat  # its functions have no types
v4: Any = nbformat.v4
ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "tools" / "notebooks").glob("*.ipynb"))
MAX_LINES = 25
"""How long a cell may be: more does not fit on a screen beside what it shows."""


def read(path: Path) -> NotebookNode:
    notebook: NotebookNode = formats.reads(path.read_text(encoding="utf-8"), as_version=4)
    return notebook


def unfit(notebook: NotebookNode) -> list[str]:
    """What a notebook should not be committed with."""
    try:
        formats.validate(notebook)
    except nbformat.ValidationError as error:
        return [f"invalid: {error.message}"]
    found: list[str] = []
    for cell in notebook.cells:
        if cell.get("outputs"):
            found.append(f"{cell.id} has outputs")
        if cell.get("execution_count") is not None:
            found.append(f"{cell.id} has an execution count")
        if cell.metadata:
            found.append(f"{cell.id} has metadata")
        if len(cell.source.splitlines()) > MAX_LINES:
            found.append(f"{cell.id} has {len(cell.source.splitlines())} lines")
    if set(notebook.metadata) - {"kernelspec", "language_info"}:
        found.append("the notebook has metadata")
    return found


def test_there_are_notebooks() -> None:
    assert [path.name for path in NOTEBOOKS] == ["first_steps.ipynb"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_fit_to_commit(path: Path) -> None:
    notebook = read(path)
    assert unfit(notebook) == []
    text = path.read_text(encoding="utf-8")
    assert text == formats.writes(notebook) + "\n", "it is written as nbformat writes it"


def test_what_is_unfit_is_found() -> None:
    ran = v4.new_code_cell(
        "1", id="a", execution_count=1, outputs=[v4.new_output("stream", text="1")]
    )
    long = v4.new_markdown_cell("line\n" * (MAX_LINES + 1), id="b", metadata={"tags": ["x"]})
    assert unfit(v4.new_notebook(cells=[ran, long], metadata={"widgets": {}})) == [
        "a has outputs",
        "a has an execution count",
        "b has metadata",
        "b has 26 lines",
        "the notebook has metadata",
    ]
    broken = v4.new_notebook(cells=[v4.new_code_cell("1", id="a")])
    broken.cells[0].id = "no spaces"
    assert [line.split(":")[0] for line in unfit(broken)] == ["invalid"]


@pytest.fixture
def kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels run on this interpreter and this checkout, without the user's settings."""
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def run(notebook: NotebookNode, folder: Path) -> dict[str, Any]:
    """Run all cells in a folder; what each showed, by the cell's id. An error in one is raised."""
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources=resources).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        kinds = {output.output_type for output in cell.outputs}
        assert kinds <= {"stream", "execute_result"}, cell.id
        noise = [o.text for o in cell.outputs if o.output_type == "stream" and o.name == "stderr"]
        assert not noise, cell.id
    return {cell.id: shown(cell) for cell in cells}


def shown(cell: NotebookNode) -> Any:
    """What a cell printed, or the forms of what stands on its last line."""
    results = [output.data for output in cell.outputs if output.output_type == "execute_result"]
    printed = "".join(output.text for output in cell.outputs if output.output_type == "stream")
    return results[0] if results else printed


@pytest.mark.usefixtures("kernels")
def test_first_steps(tmp_path: Path) -> None:
    told = run(read(NOTEBOOKS[0]), tmp_path)
    assert "% of 500 digits are read correctly" in told["function"]
    assert "input %images : float32[N, 8, 8]" in told["graph"]
    assert told["drawing"]["image/svg+xml"].count(">MatMul<") == 2
    assert "same.reshape 1, rectifiers.max_zero 1, neutral.div_one 1" in told["optimize"]
    assert told["check"] == "3/3 ok\n"
    before, after = told["plans"].splitlines()
    assert before.startswith("11 steps") and after.startswith("10 steps")
    assert told["plan"]["text/plain"].startswith(after)
    assert told["table"].startswith("10 steps")
    assert "10 steps on 1 lane" in told["timeline"]["image/svg+xml"]
    assert "<table>" in told["timeline"]["text/html"]
    assert Path(told["trace"].strip()).is_relative_to(tmp_path)
    assert "rewrite.divided 1" in told["fires"] and "fold.constant 1" in told["fires"]
    assert told["agrees"].splitlines()[1].startswith("9 steps")
    if importlib.util.find_spec("jax") is not None:
        assert told["jax"].startswith("NumPy and JAX differ by")
        assert [line[:5] for line in told["backends"].splitlines()] == ["numpy", "jax: "]


@pytest.mark.usefixtures("kernels")
def test_first_steps_without_jax(tmp_path: Path) -> None:
    notebook = read(NOTEBOOKS[0])
    hide = "import sys\n\nsys.modules.update(jax=None, jaxlib=None)"
    notebook.cells.insert(0, v4.new_code_cell(hide, id="hide"))
    told = run(notebook, tmp_path)
    assert told["jax"].startswith("Going on without JAX: ") and "install" in told["jax"]
    assert told["backends"].startswith("numpy: 3/3 ok") and "jax" not in told["backends"]
    assert told["agrees"].splitlines()[1].startswith("9 steps")


@pytest.mark.usefixtures("kernels")
def test_a_cell_that_fails_is_found(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="AssertionError"):
        run(v4.new_notebook(cells=[v4.new_code_cell("assert False", id="a")]), tmp_path)
    noisy = v4.new_code_cell("import sys\nprint(1, file=sys.stderr)", id="b")
    with pytest.raises(AssertionError, match="b"):
        run(v4.new_notebook(cells=[noisy]), tmp_path)
