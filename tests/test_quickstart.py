"""The notebook of the examples: its cells load configs that are possible, and call what there is as it is called."""

import json
import pathlib
import sys
import types
from unittest import mock

from stata_jax import evaluate
from stata_jax.train import loop

NOTEBOOK = pathlib.Path(__file__).resolve().parents[1] / "examples" / "quickstart.ipynb"
CELLS = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]


def test_it_is_stored_without_outputs():
    assert not any(cell["outputs"] or cell["execution_count"] for cell in CELLS)


def test_its_cells_run(monkeypatch):
    """All but the training, for which there are tests of its own."""
    train = mock.create_autospec(loop.train, return_value={"top1": 0.5, "coverage": [0.6]})
    test = mock.create_autospec(evaluate.evaluate, return_value={"top1": 0.5})
    monkeypatch.setattr(loop, "train", train)
    monkeypatch.setattr(evaluate, "evaluate", test)
    display = types.ModuleType("IPython.display")
    display.Image = pathlib.Path
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    names = {}
    for cell in CELLS:
        code = "".join(cell["source"])
        if not code.startswith("%pip"):
            exec(compile(code, NOTEBOOK.name, "exec"), names)
    runs = [call.args for call in train.call_args_list]
    assert len(runs) == 2 and runs[1][0].init_from == runs[0][1] == test.call_args.args[0]
    assert names["summary"] == train.return_value
