"""Trains variants of the digits benchmark and prints their table: `python launch/digits_table.py`.

Finished runs are only evaluated, so the command can be stopped and given again. Families, variants and seeds are
options, and `--config.KEY=VALUE` goes to every run.
"""

import argparse
import itertools
import json
import math
import pathlib
import statistics
import subprocess
import sys
from collections.abc import Sequence

COLUMNS = "| family | variant | top-1 of each seed | top-1 | top-5 | step | compiled memory | multiply-accumulates |"


def train(family: str, variant: str, seed: int, folder: pathlib.Path, overrides: Sequence[str]) -> None:
    """One run, through the same command that a user types."""
    command = [sys.executable, "-m", "stata_jax.main", f"--config=configs/digits.py:{variant}", *overrides]
    command += [f"--config.model.family={family}", f"--config.seed={seed}"]
    command += [f"--workdir={folder / f'{family}_{variant}_{seed}'}"]
    print(*command[1:], flush=True)
    subprocess.run(command, check=True)


def row(family: str, variant: str, folder: pathlib.Path) -> str | None:
    """The table's line of a variant, over the seeds that are finished; None without any."""
    runs = [json.loads(path.read_text()) for path in sorted(folder.glob(f"{family}_{variant}_*/summary.json"))]
    if not runs:
        return None
    top1 = [100 * run["top1"] for run in runs]
    spread = f" ± {statistics.stdev(top1):.1f}" if len(top1) > 1 else ""
    cells = [
        family,
        f"`{variant}`",
        ", ".join(f"{value:.1f}" for value in top1),
        f"{statistics.mean(top1):.1f}{spread} %",
        f"{statistics.mean(100 * run['top5'] for run in runs):.1f} %",
        f"{1000 * statistics.median(run['step_s'] or math.nan for run in runs):.0f} ms",
        f"{(runs[0]['peak_bytes'] or math.nan) / 1e6:.0f} MB",
        f"{runs[0]['macs'] / 1e6:.1f} M",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Trains what is missing, then prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", default="spikingformer", help="with commas")
    parser.add_argument("--variants", default="stata,random,baseline,dense", help="of configs/digits.py, with commas")
    parser.add_argument("--seeds", default="0,1,2", help="with commas; empty trains nothing")
    parser.add_argument("--folder", default="runs/table", type=pathlib.Path, help="where the runs are")
    flags, overrides = parser.parse_known_args()
    unknown = [argument for argument in overrides if not argument.startswith("--config.")]
    if unknown:
        parser.error(f"unknown argument {unknown[0]}")
    families, variants = flags.families.split(","), flags.variants.split(",")
    for seed, family, variant in itertools.product(filter(None, flags.seeds.split(",")), families, variants):
        train(family, variant, int(seed), flags.folder, overrides)
    print(COLUMNS, "|---|---|---|---|---|---|---|---|", sep="\n")
    print(*filter(None, (row(*pair, flags.folder) for pair in itertools.product(families, variants))), sep="\n")


if __name__ == "__main__":
    main()
