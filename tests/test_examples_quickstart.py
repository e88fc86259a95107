"""The notebook runs from top to bottom, and shows a table and a plot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

NOTEBOOK = Path(__file__).parents[1] / "examples" / "quickstart.ipynb"


@pytest.mark.slow
def test_the_notebook_runs_and_shows_what_it_says(tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=280, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown: list[Any] = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    data = [output["data"] for output in shown if "data" in output]
    (table,) = (entry["text/markdown"] for entry in data if "text/markdown" in entry)
    assert "| grpo(bleu) |" in table and r"| grpo(word\_f1) |" in table and "| base |" in table
    assert sum("image/png" in entry for entry in data) >= 1
    printed = "".join(output["text"] for output in shown if output["output_type"] == "stream")
    assert "BLEU, " in printed and "Traceback" not in printed
    assert len(list(tmp_path.glob("runs/quickstart/*/*/result.json"))) == 3


def test_the_notebook_is_kept_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)
