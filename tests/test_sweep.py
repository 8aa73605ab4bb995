"""The sweep command: a small real sweep, what it leaves, and with stand-ins for the runs its order and its mistakes."""

import csv
import json
import pathlib
import shlex

import pytest

from stata_jax import config, evaluate, sweep
from stata_jax.tools import coverage_plot, profiling, programs, sweep_grids
from stata_jax.tools.profiling import Timing
from stata_jax.train.metrics import MetricsWriter, write_json

DIGITS = str(pathlib.Path(__file__).parents[1] / "configs" / "digits.py")
TINY = {
    "model.dim": 16,
    "model.depth": 1,
    "sparsity.prune_at": (0,),
    "model.heads": 2,
    "model.timesteps": 1,
    "data.train_examples": 32,
    "data.test_examples": 12,
    "train.batch_size": 16,
    "train.epochs": 1,
    "eval.batch_size": 12,
}
FLAGS = [f"--config={DIGITS}", *sweep_grids.flags(TINY)]


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A sweep of one cell and one seed that really trains, measures and times."""
    folder = tmp_path_factory.mktemp("sweep")
    patch = pytest.MonkeyPatch()
    patch.setattr(sweep, "_ROUNDS", 2)
    try:
        arguments = [*FLAGS, "--grid=align.distance=norm", "--seeds=3", f"--workdir={folder}"]
        assert sweep.main(arguments) == 0
        assert sweep.main([*arguments, "--time"]) == 0  # nothing is trained again
    finally:
        patch.undo()
    return folder


def test_a_real_sweep(real):
    run = real / "align.distance=norm" / "seed3"
    summary, energy = (json.loads((run / name).read_text()) for name in ("summary.json", "energy.json"))
    settings = config.from_json((run / "config.json").read_text())
    assert (settings.seed, settings.align.distance, settings.model.dim) == (3, "norm", 16)
    assert (run / "log.txt").read_text().count("python -m stata_jax.main") == 1
    (row,) = csv.DictReader((real / "runs.csv").read_text().splitlines())
    assert (row["cell"], row["seed"], float(row["top1"])) == ("align.distance=norm", "3", summary["top1"])
    assert float(row["energy_mj"]) == pytest.approx(energy["models"]["as trained"]["energy_mj"])
    coverage = summary["coverage"]["block0"]["kept_on_digit"]
    assert [float(row[f"kept_on_digit_block0_t{t}"]) for t in range(len(coverage))] == pytest.approx(coverage)
    costs = json.loads((real / "costs.json").read_text())["align.distance=norm"]["cells"]["align.distance=norm"]
    table = (real / "table_align.distance=norm.md").read_text()
    assert f"| {1000 * costs['step_s']:.4g} ms | x1.00 | {costs['peak_bytes'] / 1e6:.0f} MB |" in table
    assert f"{100 * summary['coverage_chance']:.1f} % would be chance" in table and "median of 2 steps" in table
    assert table.splitlines()[-1].startswith("`python -m stata_jax.sweep --config=")
    assert (real / "figure_align.distance=norm_costs.png").stat().st_size > 10_000
    assert (real / "figure_align.distance=norm_coverage.png").stat().st_size > 10_000


def test_the_weights_of_a_run_with_another_metric(real, tmp_path):
    run = real / "align.distance=norm" / "seed3"
    assert evaluate.main([f"--workdir={run}", f"--output={tmp_path / 'l1'}", "--config.sparsity.metric=l1"]) == 0
    result = json.loads((tmp_path / "l1" / "evaluate.json").read_text())
    assert result["images"] == 12 and result["step"] == 2 and len(result["coverage"]["block0"]["kept_on_digit"]) == 1


@pytest.fixture
def ran(monkeypatch):
    """Stands in for the children: leaves results by the cell's name, and gives the list of the tasks that ran."""
    tasks = []
    top1 = {"dense": 0.9, "random": 0.7, "ssa": 0.75, "stata": 0.88}

    def run_all(given, *, jobs, gpus, describe):
        for task in given:
            if task.result.exists():
                continue
            tasks.append(task)
            if task.kind == "energy":
                counts = {"layers": [], "mac": 1.0, "ac": 2.0, "energy_mj": 0.5}
                write_json(task.result, {"models": {"as trained": counts}})
                continue
            cell, _, seed = task.name.removeprefix("accuracy of ").partition("/seed")
            accuracy = {"top1": top1.get(cell, 0.5) + 0.01 * int(seed), "top5": 1.0}
            costs = {"step_s": 0.1, "peak_bytes": 1e6, "spike_macs": 7, "jax": "0.0", "devices": "1 x cpu"}
            write_json(task.result, accuracy | costs)
            describe(task)
        return []

    monkeypatch.setattr(sweep, "run_all", run_all)
    return tasks


def test_seeds_are_outermost(ran, tmp_path, capsys):
    assert sweep.main([*FLAGS, "--grid=table2", "--seeds=0,1", f"--workdir={tmp_path}"]) == 0
    cells = ("dense", "random", "ssa", "stata")
    assert [task.name for task in ran] == [
        name
        for seed in (0, 1)
        for names in ([f"{cell}/seed{seed}" for cell in cells], [f"energy of {cell}/seed{seed}" for cell in cells])
        for name in names
    ]
    own = ["sparsity.metric=random", "sparsity.anchor=false", "align.alpha=0.0", "align.beta=0.0"]
    command = ["-m", "stata_jax.main", *FLAGS, "--config.seed=0", *(f"--config.{each}" for each in own)]
    assert ran[1].command == [*command, f"--workdir={tmp_path}/random/seed0"]
    assert str(ran[1]).startswith("python -m stata_jax.main --config=")
    assert ran[5].needs == ran[1].result and ran[5].result.parent == ran[1].result.parent
    out = capsys.readouterr().out
    assert "| `stata` | 2 | 88.50 ± 0.71 % | 100.0 % | **-2.00 (-2.00 to -2.00)** |" in out
    # Another grid of the same folder needs but one more cell, and the report what is there.
    ran.clear()
    assert sweep.main([*FLAGS, "--grid=table1", "--seeds=0,1,2", f"--workdir={tmp_path}", "--report"]) == 0
    assert not ran and "| `stata` | 2 (without 2) |" in capsys.readouterr().out
    assert sweep.main([*FLAGS, "--grid=table1", "--seeds=0,1", f"--workdir={tmp_path}"]) == 0
    assert {task.name.rpartition(" ")[2] for task in ran} == {
        f"{cell}/seed{seed}" for cell in ("l1", "firing") for seed in (0, 1)
    }
    assert not (tmp_path / "table_table1.md").read_text().count("--report")


def test_evaluations_follow_the_runs_whose_weights_they_take(ran, tmp_path):
    assert sweep.main([*FLAGS, "--grid=training_free", "--seeds=5", f"--workdir={tmp_path}"]) == 0
    assert [task.name for task in ran[:2]] == ["dense/seed5", "stata/seed5"]
    accuracy, energy = [task for task in ran if task.name.endswith(" dense_ssa_0.4/seed5")]
    run = tmp_path / "dense" / "seed5"
    own = ["--config.sparsity.metric=ssa", "--config.sparsity.keep_rate=0.4"]
    assert accuracy.command[1:] == [
        "stata_jax.evaluate",
        f"--workdir={run}",
        f"--output={run / 'dense_ssa_0.4'}",
        *own,
    ]
    assert energy.command[1:] == ["stata_jax.energy", f"--workdir={run}", f"--output={run / 'dense_ssa_0.4'}", *own]
    assert accuracy.needs == energy.needs == run / "summary.json" and len({task.log for task in ran}) == len(ran)
    table = (tmp_path / "table_training_free.md").read_text()
    assert "| `dense_ssa_0.4` | 1 | 55.00 % | 100.0 % | -40.00 | 0.00 M |" in table


@pytest.mark.parametrize(
    ("source", "examples", "flag"),
    [("digits", 2000, True), ("digits", 500, False), ("cifar100", 0, True), ("digits_dvs", 1000, False)],
)
def test_energy_is_measured_on_few_images(source, examples, flag):
    """Of the simulated recordings another number would be another data set."""
    base = config.load(DIGITS, {"data.source": source, "data.test_examples": examples})
    assert sweep._fewer(base) == (["--config.data.test_examples=500"] if flag else [])


def test_a_failed_run_makes_the_exit_code(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sweep, "run_all", lambda tasks, **options: tasks[:1])
    assert sweep.main([*FLAGS, "--grid=table1", "--seeds=0", f"--workdir={tmp_path}"]) == 1
    assert "no run of table1 is finished" in capsys.readouterr().out


def test_a_dry_run_prints_commands_and_makes_nothing(tmp_path, capsys):
    flags = [*FLAGS, "--grid=sparsity.prune_at=0;0,1", "--seeds=4", "--dry_run", "--config.model.depth=2"]
    assert sweep.main([*flags, f"--workdir={tmp_path / 'new'}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and not (tmp_path / "new").exists()
    command = ["python", "-m", "stata_jax.main", *FLAGS, "--config.model.depth=2", "--config.seed=4"]
    command += ["--config.sparsity.prune_at=0,1", f"--workdir={tmp_path}/new/sparsity.prune_at=0,1/seed4"]
    assert shlex.split(lines[1]) == command


def test_coverage_is_drawn_where_it_is_known(ran, monkeypatch, tmp_path):
    drawn = []
    monkeypatch.setattr(coverage_plot, "draw_coverage", lambda path, runs, **options: drawn.append((path, runs)))
    coverage = {"block0": {"kept_on_digit": [0.5, 0.25], "digit_kept": [1.0, 0.0]}}
    for cell, seed in (("ssa", 1), ("stata", 0), ("stata", 2)):
        with MetricsWriter(tmp_path / cell / f"seed{seed}", resume_step=0) as writer:
            writer.write(1, {"epoch": 1, "train": {"loss": 1.0}})
            writer.write(2, {"epoch": 1, "test": {"top1": 0.5, "coverage": coverage, "coverage_chance": 0.2}})
    assert sweep.main([*FLAGS, "--grid=table2", "--seeds=0,1", f"--workdir={tmp_path}"]) == 0
    records = [[{"step": 2, "epoch": 1, "coverage": coverage}]]
    assert drawn.pop() == (tmp_path / "figure_table2_coverage.png", {"ssa": records, "stata": records})
    # The third seed of stata is still in training.
    assert sweep.main([*FLAGS, "--grid=table2", "--seeds=1,2", f"--workdir={tmp_path}", "--report"]) == 0
    assert drawn.pop()[1] == {"ssa": records}


def test_costs_are_measured_in_turns_and_once(ran, monkeypatch, tmp_path, capsys):
    prepared = []

    def prepare(settings, mode):
        prepared.append((settings.sparsity.keep_rate, mode))
        return lambda: None, {"peak_bytes": 100.0}

    def timed(calls, *, rounds, in_a_row):
        assert rounds == sweep._ROUNDS
        return {name: Timing((0.1 * (1 + i),) * 3) for i, name in enumerate(calls)}

    monkeypatch.setattr(programs, "prepare", prepare)
    monkeypatch.setattr(profiling, "time_alternately", timed)
    flags = [*FLAGS, "--grid=sparsity.keep_rate=1,0.5", "--seeds=0", f"--workdir={tmp_path}", "--time"]
    assert sweep.main(flags) == 0 and sweep.main(flags) == 0
    assert prepared == [(1.0, "train"), (0.5, "train")]
    said = capsys.readouterr().out
    assert "| 200 ms | x0.50 | 0 MB |" in said
    assert "are timed already: delete" in said and (tmp_path / "figure_sparsity.keep_rate=1,0.5_over.png").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--config is missing"),
        (FLAGS, "--grid is missing"),
        ([*FLAGS, "--grid=table9"], "--grid is 'table9', but it must be one of table1"),
        ([*FLAGS, "--grid=table1", "--seeds=0,x"], "--seeds is '0,x'"),
        ([*FLAGS, "--grid=table1", "--seeds=1,1"], "--seeds is '1,1', but each may be there once"),
        ([*FLAGS, "--grid=table1", "--seeds=-1"], "seed is -1"),
        ([*FLAGS, "--grid=table1", "--jobs=0"], "--jobs is 0, but it must be at least 1"),
        ([*FLAGS, "--grid=table1", "--gpus=3"], "--gpus is 3, but CUDA_VISIBLE_DEVICES names 2: ask for no more"),
        ([*FLAGS, "--grid=table1", "--gpus=-1"], "--gpus is -1, but it must be at least 0"),
        ([*FLAGS, "--grid=table1", "--baseline=tat"], "--baseline is 'tat'"),
        ([*FLAGS, "--grid=table1", "--config.seed=3"], "--config.seed is set by --seeds here"),
        ([*FLAGS, "--grid=table1", "--workdir=/dev/null/there"], "cannot be written"),
    ],
)
def test_mistakes_are_one_sentence(ran, flags, message, capsys, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    assert sweep.main(flags) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not ran


def test_a_run_of_another_config_is_an_error_before_anything_starts(ran, tmp_path, capsys):
    last = tmp_path / "stata" / "seed1"
    write_json(last / "config.json", config.load(DIGITS, TINY | {"seed": 1, "model.tau": 3.0}).to_dict())
    (last / "checkpoints" / "2").mkdir(parents=True)
    assert sweep.main([*FLAGS, "--grid=table1", "--seeds=0,1", f"--workdir={tmp_path}"]) == 2
    assert f"{last} holds a run with model.tau=3.0, not 2.0" in capsys.readouterr().err and not ran
