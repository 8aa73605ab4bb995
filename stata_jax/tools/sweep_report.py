"""What a sweep leaves beside its runs: runs.csv, and a table and figures for each grid."""

import json
import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from stata_jax import config
from stata_jax.tools import sweep_table
from stata_jax.tools.sweep_grids import Grid


def write(grid: Grid, base: ConfigDict, *, workdir: pathlib.Path, seeds: Sequence[int], command: str) -> None:
    """Writes and prints what the finished runs of a grid show.

    Args:
      grid: The grid.
      base: The config that its cells change.
      workdir: Folder of the sweep.
      seeds: Which seeds count.
      command: What a user types to make the same.
    """
    rows = sweep_table.collect(workdir)
    mine = [row for row in rows if row["cell"] in grid.cells and row["seed"] in seeds]
    if not mine:
        print(f"no run of {grid.name} is finished in {workdir}: there is nothing to report")
        return
    path = workdir / "costs.json"
    costs = json.loads(path.read_text()).get(grid.name) if path.exists() else None
    table = sweep_table.summarise(
        rows, cells=list(grid.cells), baseline=grid.baseline, seeds=seeds, costs=costs and costs["cells"]
    )
    lines = [f"**{grid.title}**", "", sweep_table.as_markdown(table, baseline=grid.baseline, seeds=seeds), ""]
    text = "\n".join(lines + _notes(mine, costs) + ["", f"`{command}`"])
    print("", text, sep="\n")
    (workdir / "runs.csv").write_text(sweep_table.runs_csv(rows))
    (workdir / f"table_{grid.name}.md").write_text(text + "\n")
    (workdir / f"table_{grid.name}.csv").write_text(sweep_table.table_csv(table))
    pictures = _draw(grid, base, table, workdir, seeds, _chance(mine))
    print(f"results in {workdir}: runs.csv, table_{grid.name}.md, .csv{''.join(f', {name}' for name in pictures)}")


def _chance(rows: Sequence[Mapping[str, Any]]) -> float | None:
    known = [row["chance"] for row in rows if row["chance"] is not None]
    return statistics.fmean(known) if known else None


def _notes(rows: Sequence[Mapping[str, Any]], costs: Mapping[str, Any] | None) -> list[str]:
    """What the columns mean, and on what the numbers were made."""
    chance = _chance(rows)
    notes = [
        "Top-1: mean ± sample standard deviation over the seeds. Differences are paired by seed, with the interval of "
        "the t distribution; bold: it excludes 0 (no correction for several comparisons)."
    ]
    if any(row["kept_on_digit"] for row in rows):
        random = "" if chance is None else f" {100 * chance:.1f} % would be chance."
        notes.append(
            "Kept on digit: share of the kept patches that lie on the digit; digit kept: share of the digit's patches "
            f"that are kept; means over timesteps.{random}"
        )
    if any(row["energy_mj"] is not None for row in rows):
        notes.append(
            "ACs, MACs and energy: of one image, with firing rates measured on test images, 0.9 pJ an AC and 4.6 pJ a "
            "MAC at 45 nm; firing after attention: how often the neurons do that follow the attention of the pruning "
            "block."
        )
    if costs:
        notes.append(
            f"Step and memory: measured in turns, median of {costs['rounds']} steps; jax {costs['jax']}, "
            f"{costs['device']}."
        )
    elif any(row["step_s"] is not None for row in rows):
        notes.append(
            "Step and memory: medians of the runs, which may have shared the machine; `--time` measures in turns."
        )
    runs_on = sorted({f"jax {row['jax']}, {row['device']}" for row in rows})
    return [*notes, f"Runs: {'; '.join(runs_on)}."]


def _draw(
    grid: Grid,
    base: ConfigDict,
    table: Sequence[Mapping[str, Any]],
    workdir: pathlib.Path,
    seeds: Sequence[int],
    chance: float | None,
) -> list[str]:
    """Draws the figures that suit the grid; returns their names."""
    from stata_jax.tools import figures, sweep_plot
    from stata_jax.tools.coverage_plot import draw_coverage, read_coverage

    drawn = []
    if any(row["energy_mj"] or row["step_s"] for row in table):
        drawn.append(f"figure_{grid.name}_costs.png")
        figures.save(workdir / drawn[-1], sweep_plot.costs_figure(table, title=grid.title))
    if grid.over is not None:
        cells = {cell.name: config.apply_overrides(base, cell.overrides) for cell in grid.cells.values()}
        values = {name: float(settings[grid.over]) for name, settings in cells.items()}
        drawn.append(f"figure_{grid.name}_over.png")
        figures.save(workdir / drawn[-1], sweep_plot.over_figure(table, values, key=grid.over, title=grid.title))
    runs = {}
    for cell in grid.trained:
        folders = [workdir / cell.name / f"seed{seed}" for seed in seeds]
        finished = [folder / "metrics.jsonl" for folder in folders if (folder / "summary.json").exists()]
        records = [found for path in finished if path.exists() and (found := read_coverage(path))]
        if records:
            runs[cell.name] = records
    if runs:
        drawn.append(f"figure_{grid.name}_coverage.png")
        draw_coverage(workdir / drawn[-1], runs, chance=chance)
    return drawn
