"""Trains a grid of configs over seeds and compares them.

python -m stata_jax.sweep --config=configs/digits.py --grid=table5 --seeds=0,1,2,3,4 --jobs=2

Runs that are there are not run again, so that the command can be stopped and given again. `configs/grids.py` has the
grids.
"""

import json
import os
import pathlib
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from stata_jax import cli, config
from stata_jax.paths import expand
from stata_jax.tools import sweep_grids, sweep_report
from stata_jax.tools.sweep_grids import Grid
from stata_jax.tools.sweep_runs import Task, run_all
from stata_jax.train import reuse

ConfigError = config.ConfigError
_ENERGY_EXAMPLES = 500  # test images of which firing rates are measured
_ROUNDS = 15  # timed steps of each cell


def _sweep(argv: Sequence[str]) -> int:
    """Returns 1 if a run failed or was stopped."""
    parser = cli.Parser(
        prog="python -m stata_jax.sweep",
        description="Train a grid of configs over seeds, measure energy, and compare the cells in a table and figures.",
    )
    parser.add_argument("--config", metavar="FILE[:FAMILY]", help=cli.CONFIG_HELP)
    parser.add_argument("--grid", metavar="NAME", help="a name, CELL,CELL,..., or KEY=VALUE,VALUE,... (needed)")
    parser.add_argument("--seeds", metavar="LIST", default="0,1,2,3,4", help="with commas (default: 0,1,2,3,4)")
    parser.add_argument("--baseline", metavar="CELL", help="what the others are compared with (default: the grid's)")
    parser.add_argument("--jobs", metavar="N", type=int, default=1, help="runs at a time (default: 1)")
    parser.add_argument("--gpus", metavar="N", type=int, default=0, help="GPUs to deal out to the runs (default: 0)")
    parser.add_argument("--workdir", metavar="DIR", help="where the runs are (default: runs/sweep/NAME, of the config)")
    parser.add_argument("--time", action="store_true", help="also time a step of each cell; needs an idle machine")
    parser.add_argument("--report", action="store_true", help="only write tables and figures of what is there")
    parser.add_argument("--dry_run", action="store_true", help="only print the commands that would be run")
    flags, overrides = cli.parse(parser, argv, required="config")
    if flags.grid is None:
        raise ConfigError("--grid is missing; --help shows how to use python -m stata_jax.sweep")
    cli.at_least(flags, jobs=1, gpus=0)
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    if visible and flags.gpus > len(visible):
        raise ConfigError(f"--gpus is {flags.gpus}, but CUDA_VISIBLE_DEVICES names {len(visible)}: ask for no more")
    base = cli.load_config(flags.config, overrides)
    if any(flag.startswith("--config.seed=") for flag in overrides):
        raise ConfigError("--config.seed is set by --seeds here: leave it away")
    seeds = _seeds(flags.seeds, base)
    grid = sweep_grids.find(flags.grid, base, baseline=flags.baseline)
    workdir = expand(flags.workdir or f"runs/sweep/{base.name}")
    for cell in grid.trained:
        for seed in seeds:
            reuse.check_same(workdir / cell.name / f"seed{seed}", _settings(base, cell.overrides, seed))
    tasks = _tasks(grid, base, seeds, workdir, [f"--config={flags.config}", *overrides])
    if flags.dry_run:
        print("\n".join(str(task) for task in tasks if not task.result.exists()) or "all is done")
        return 0
    config.prepare_workdir(workdir)
    failed = [] if flags.report else run_all(tasks, jobs=flags.jobs, gpus=flags.gpus, describe=_describe)
    if flags.time and not flags.report:
        _time(grid, base, workdir)
    command = shlex.join(["python", "-m", "stata_jax.sweep", *(a for a in argv if a != "--report")])
    sweep_report.write(grid, base, workdir=workdir, seeds=seeds, command=command)
    return int(bool(failed))


def _seeds(text: str, base: ConfigDict) -> list[int]:
    seeds = cli.numbers("--seeds", text, int, "whole numbers such as 0,1,2", once=True)
    for seed in seeds:
        config.check(_settings(base, {}, seed))
    return seeds


def _settings(base: ConfigDict, overrides: Any, seed: int) -> ConfigDict:
    return config.apply_overrides(base, dict(overrides) | {"seed": seed})


def _tasks(
    grid: Grid, base: ConfigDict, seeds: Sequence[int], workdir: pathlib.Path, arguments: Sequence[str]
) -> list[Task]:
    """All commands, seed by seed, so that after each seed all cells can be compared."""
    tasks: list[Task] = []
    for seed in seeds:
        after: list[Task] = []
        for cell in grid.cells.values():
            run = workdir / (cell.of or cell.name) / f"seed{seed}"
            name, summary, own = f"{cell.name}/seed{seed}", run / "summary.json", sweep_grids.flags(cell.overrides)
            if cell.of is None:
                command = ["-m", "stata_jax.main", *arguments, f"--config.seed={seed}", *own, f"--workdir={run}"]
                tasks.append(Task(name, "train", command, run / "log.txt", summary))
                own, output = [], run
            else:
                output = run / cell.name
                command = ["-m", "stata_jax.evaluate", f"--workdir={run}", f"--output={output}", *own]
                log, result = output / "evaluate.log", output / "evaluate.json"
                after.append(Task(f"accuracy of {name}", "evaluate", command, log, result, summary))
            command = ["-m", "stata_jax.energy", f"--workdir={run}", f"--output={output}", *own, *_fewer(base)]
            log = output / "energy.log"
            after.append(Task(f"energy of {name}", "energy", command, log, output / "energy.json", summary))
        tasks += after
    return tasks


def _fewer(base: ConfigDict) -> list[str]:
    """Flags for fewer test images, where that does not mean other recordings."""
    examples = base.data.test_examples
    if base.data.source == "digits_dvs" or 0 < examples <= _ENERGY_EXAMPLES:
        return []
    return [f"--config.data.test_examples={_ENERGY_EXAMPLES}"]


def _describe(task: Task) -> str:
    if task.kind == "energy":
        return ""
    return f": top-1 {100 * json.loads(task.result.read_text())['top1']:.2f} %"


def _time(grid: Grid, base: ConfigDict, workdir: pathlib.Path) -> None:
    """Times the trained cells, unless costs.json has them already."""
    from stata_jax.tools import sweep_costs
    from stata_jax.train.metrics import write_json

    path = workdir / "costs.json"
    costs = json.loads(path.read_text()) if path.exists() else {}
    configs = {cell.name: config.apply_overrides(base, cell.overrides) for cell in grid.trained}
    if costs.get(grid.name, {}).get("cells", {}).keys() == configs.keys():
        print(f"the steps of {grid.name} are timed already: delete {path} to time them anew")
        return
    write_json(path, costs | {grid.name: sweep_costs.measure(configs, rounds=_ROUNDS)})


main = cli.command(_sweep, interrupted="interrupted: the same command goes on with it")

if __name__ == "__main__":
    sys.exit(main())
