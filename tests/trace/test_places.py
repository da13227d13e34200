"""Places in the user's program are named as users know them."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from graphopt.frontends.trace.places import short


def in_notebook(shell: Any) -> Any:
    """Meanwhile IPython is there, with this shell."""
    ipython = ModuleType("IPython")
    ipython.__dict__["get_ipython"] = lambda: shell
    return mock.patch.dict(sys.modules, {"IPython": ipython})


def test_files_are_shown_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert short(str(tmp_path / "a" / "b.py")) == str(Path("a") / "b.py")
    assert short(str(tmp_path.parent / "c.py")) == str(tmp_path.parent / "c.py")
    assert short("<stdin>") == "<stdin>"


def test_cells_of_a_notebook_are_shown_by_their_numbers() -> None:
    names = {"cells/2.py": ("Cell", "In[5]")}
    shell = SimpleNamespace(compile=SimpleNamespace(format_code_name=names.get))
    with in_notebook(shell):
        assert short("cells/2.py") == "In[5]"
        assert short("<other>") == "<other>"


@pytest.mark.parametrize("shell", [None, SimpleNamespace(), SimpleNamespace(compile=None)])
def test_ipython_without_names_changes_nothing(shell: Any) -> None:
    with in_notebook(shell):
        assert short("<other>") == "<other>"
