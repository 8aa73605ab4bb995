"""What the main programs cost, against committed figures: operations, memory and the number of programs.

Less optimisation of machine code, as in tests, changes operations and memory by less than a thousandth.
The figures are ceilings, with some room; another version of the compiler has other figures, and so more room.
`JAX_PLATFORMS=cpu python tests/test_costs.py` measures them anew and writes `costs.json` beside this file.
"""

import functools
import importlib.metadata
import json
import pathlib
import subprocess
import sys
from typing import Any

import pytest

FIGURES = pathlib.Path(__file__).with_name("costs.json")
ROOM, ROOM_ELSEWHERE = 1.05, 1.5  # with the version of JAX that the figures are of, and with others
PROGRAMS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "digits, training": ("stata", "train", {}),
    "digits, training, dense": ("dense", "train", {}),
    "digits, training, not lean": ("stata", "train", {"train.lean": False}),
    "digits, training, recompute": ("stata", "train", {"train.recompute": True}),
    "digits, training, Spike-driven Transformer": ("stata", "train", {"model.family": "sdt"}),
    "digits, inference": ("stata", "infer", {}),
}
# A whole run in a process of its own: training for two epochs, evaluation after each, and pictures.
RUN = """
import sys
import jax
from stata_jax import main
names = []
def listen(event, duration, **_):
    if event == "/jax/core/compile/backend_compile_duration":
        names.append(event)
jax.monitoring.register_event_duration_secs_listener(listen)
small = ["train_examples=32", "test_examples=8"]
code = main.main(["--config=configs/digits.py", "--workdir=" + sys.argv[1], "--config.train.epochs=" + sys.argv[2],
    "--config.train.batch_size=8", "--config.eval.batch_size=8", "--config.model.dim=16",
    "--config.model.depth=1", "--config.sparsity.prune_at=0"]
    + ["--config.data." + each for each in small])
print("programs", len(names), "exit", code)
"""


@functools.cache
def cost(program: str) -> dict[str, int]:
    """FLOPs and bytes of temporary memory of one program, by the compiler's account."""
    from stata_jax import config
    from stata_jax.configs import digits
    from stata_jax.tools import programs

    variant, mode, overrides = PROGRAMS[program]
    _, facts = programs.prepare(config.apply_overrides(digits.get_config(variant), overrides), mode)
    return {name: facts[name] for name in ("flops", "temp_bytes")}


def count_programs(workdir: pathlib.Path, *, epochs: int) -> int:
    """Programs compiled, or loaded from the cache, in a small run."""
    command = [sys.executable, "-c", RUN, str(workdir), str(epochs)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=FIGURES.parent.parent)
    words = done.stdout.split()
    assert words[-2:] == ["exit", "0"], done.stdout
    return int(words[-3])


def ceiling(figure: float) -> float:
    """The committed figure with room."""
    same = json.loads(FIGURES.read_text())["jax"] == importlib.metadata.version("jax")
    return figure * (ROOM if same else ROOM_ELSEWHERE)


@pytest.mark.parametrize("program", PROGRAMS)
def test_operations_and_memory(program):
    committed = json.loads(FIGURES.read_text())[program]
    for name, value in cost(program).items():
        assert value <= ceiling(committed[name]), f"{program}: {name} rose from {committed[name]} to {value}"


def test_pruning_and_the_lean_modes_save_memory():
    kinds = ("", ", dense", ", not lean", ", recompute")
    pruned, dense, plain, least = (cost(f"digits, training{kind}")["temp_bytes"] for kind in kinds)
    assert pruned < 0.9 * dense
    assert pruned < 0.85 * plain
    assert least < 0.9 * pruned


def test_number_of_programs(tmp_path):
    committed = json.loads(FIGURES.read_text())["programs of a run"]
    one, three = (count_programs(tmp_path / str(epochs), epochs=epochs) for epochs in (1, 3))
    assert three == one  # later epochs compile nothing
    assert one <= ceiling(committed)


if __name__ == "__main__":
    import tempfile

    figures: dict[str, Any] = {"jax": importlib.metadata.version("jax")}
    figures |= {program: cost(program) for program in PROGRAMS}
    with tempfile.TemporaryDirectory() as folder:
        figures["programs of a run"] = count_programs(pathlib.Path(folder) / "run", epochs=1)
    FIGURES.write_text(json.dumps(figures, indent=2) + "\n")
