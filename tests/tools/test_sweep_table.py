"""The rows of a sweep from hand-made summaries."""

import csv
import io
import json

import numpy as np
import pytest
from scipy import stats

from stata_jax.tools import sweep_table

TOP1 = {"dense": [0.90, 0.92, 0.94], "ssa": [0.80, 0.86, 0.85], "stata": [0.91, 0.90]}
LAST = "projection"
ENERGY = {"dense": 0.02, "ssa": 0.01, "stata": 0.012}


def leave(folder, name, content):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(content))


def energy_of(millijoules):
    layers = [{"name": "stem/conv1", "rate": 0.25}]
    layers += [{"name": f"block{i}/attention/{name}", "rate": i * millijoules} for i in (2, 10) for name in ("q", LAST)]
    counts = {"layers": layers, "mac": 1e6, "ac": 1e9 * millijoules, "energy_mj": millijoules}
    return {"models": {"as trained": counts, "dense": {}}}


def covered(share):
    return {f"block{i}": {"kept_on_digit": [share, share + 0.2], "digit_kept": [share / 2, share / 4]} for i in (10, 2)}


@pytest.fixture
def workdir(tmp_path):
    for cell, values in TOP1.items():
        for seed, top1 in enumerate(values):
            coverage = None if cell == "dense" else covered(0.3 + 0.1 * seed)
            summary = {"top1": top1, "top5": 0.99, "coverage": coverage, "coverage_chance": 0.2, "spike_macs": 5}
            summary |= {"step_s": 0.1 * (1 + seed), "peak_bytes": 7_000_000, "jax": "0.10.2", "devices": "1 x cpu"}
            leave(tmp_path / cell / f"seed{seed}", "summary.json", summary)
            leave(tmp_path / cell / f"seed{seed}", "energy.json", energy_of(ENERGY[cell]))
    evaluated = {"top1": 0.5, "top5": 0.7, "step": 8.0, "coverage": covered(0.1)}
    leave(tmp_path / "dense" / "seed1" / "dense_l1_0.4", "evaluate.json", evaluated)
    leave(tmp_path / "dense" / "seed1" / "dense_l1_0.4", "energy.json", energy_of(0.005))
    (tmp_path / "dense" / "seed7").mkdir()  # in training
    return tmp_path


def test_a_row_for_each_run_and_each_evaluation(workdir):
    rows = sweep_table.collect(workdir)
    assert [(row["cell"], row["seed"]) for row in rows] == [
        *(("dense", seed) for seed in range(3)),
        ("dense_l1_0.4", 1),
        *(("ssa", seed) for seed in range(3)),
        *(("stata", seed) for seed in range(2)),
    ]
    assert rows[0]["kept_on_digit"] == rows[0]["digit_kept"] == rows[0]["over_time"] == {} and (
        rows[0]["ac"],
        rows[0]["mac"],
    ) == (2e7, 1e6)
    assert rows[3]["step_s"] is None and rows[3]["energy_mj"] == 0.005 and rows[3]["top1"] == 0.5
    assert rows[4]["kept_on_digit"] == pytest.approx({"block2": 0.4, "block10": 0.4})
    assert rows[4]["digit_kept"] == pytest.approx({"block2": 0.1125, "block10": 0.1125})
    read = list(csv.DictReader(io.StringIO(sweep_table.runs_csv(rows))))
    assert sweep_table.runs_csv(rows).splitlines()[0] == (
        "cell,seed,top1,top5,"
        "digit_kept_block2_t0,kept_on_digit_block2_t0,digit_kept_block2_t1,kept_on_digit_block2_t1,"
        "digit_kept_block10_t0,kept_on_digit_block10_t0,digit_kept_block10_t1,kept_on_digit_block10_t1,"
        "ac,mac,energy_mj,step_s,peak_bytes,spike_macs,device,jax,"
        "rate stem/conv1,rate block2/attention/q,rate block2/attention/projection,"
        "rate block10/attention/q,rate block10/attention/projection"
    )
    assert read[0]["kept_on_digit_block2_t1"] == "" and float(read[5]["kept_on_digit_block2_t1"]) == pytest.approx(0.6)
    assert [float(row["top1"]) for row in read[:3]] == TOP1["dense"]


def summarised(workdir, **options):
    cells = ["dense", "dense_l1_0.4", "ssa", "stata", "tat"]
    rows = sweep_table.collect(workdir)
    return sweep_table.summarise(rows, **{"cells": cells, "baseline": "dense", "seeds": range(3)} | options)


def test_means_spread_and_paired_differences(workdir):
    dense, evaluated, ssa, stata = summarised(workdir)  # no run of tat
    assert dense["top1"].mean == pytest.approx(0.92) and dense["top1_sd"] == pytest.approx(0.02)
    assert dense["difference"] is None and dense["kept_on_digit"] == {}
    expected = stats.ttest_rel(TOP1["ssa"], TOP1["dense"]).confidence_interval(0.95)
    difference = ssa["difference"]
    assert (difference.low, difference.high) == pytest.approx((expected.low, expected.high))
    assert difference.excludes_zero and ssa["kept_on_digit"]["block2"] == pytest.approx(0.5)
    assert stata["seeds"] == [0, 1] and stata["difference"].count == 2
    assert stata["difference"].mean == pytest.approx(np.mean([0.01, -0.02]))
    assert evaluated["difference"].mean == pytest.approx(0.5 - 0.92) and evaluated["difference"].low is None
    assert (evaluated["step_s"], evaluated["ratios"]["step_s"]) == (None, None)
    assert ssa["ratios"] == pytest.approx({"ac": 0.5, "energy_mj": 0.5, "step_s": 1.0})


def test_costs_in_turns_take_the_place_of_the_runs_own(workdir):
    costs = {"dense": {"step_s": 0.4, "peak_bytes": 9e6}, "ssa": {"step_s": 0.1, "peak_bytes": 3e6}}
    _, evaluated, ssa, stata = summarised(workdir, costs=costs)
    assert ssa["ratios"]["step_s"] == 0.25 and ssa["peak_bytes"] == 3e6
    assert (stata["step_s"], evaluated["step_s"]) == (None, None)  # not of the same turns


def test_only_the_seeds_asked_for_count(workdir):
    dense, ssa, _ = summarised(workdir, seeds=[2, 0], cells=["dense", "ssa", "stata"])
    assert dense["seeds"] == [0, 2] and ssa["difference"].mean == pytest.approx(-0.095)


def test_markdown(workdir):
    text = sweep_table.as_markdown(summarised(workdir), baseline="dense", seeds=range(3))
    head, _, dense, evaluated, ssa, stata = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()
    ]
    assert head == [
        "cell",
        "seeds",
        "top-1",
        "top-5",
        "top-1 less `dense`'s (95 % CI)",
        "kept on digit, block2",
        "digit kept, block2",
        "kept on digit, block10",
        "digit kept, block10",
        "firing after attention, block2",
        "firing after attention, block10",
        "ACs",
        "of `dense`",
        "MACs",
        "energy",
        "of `dense`",
        "training step",
        "speed-up over `dense`",
        "memory",
    ]
    assert dense[:9] == ["`dense`", "3", "92.00 ± 2.00 %", "99.0 %", "", "", "", "", ""]
    assert dense[9:12] == ["4.00 %", "20.00 %", "20.00 M"]
    assert ssa[4].startswith("**-8.33 (-") and ssa[4].endswith(")**")
    assert ssa[5:7] == ["50.0 %", "15.0 %"]
    assert ssa[12:] == ["50.0 %", "1.00 M", "10 µJ", "50.0 %", "200 ms", "x1.00", "7 MB"]
    assert stata[1] == "2 (without 2)" and stata[4].startswith("-0.50 (") and stata[17] == "x1.33"
    assert evaluated[2:5] == ["50.00 %", "70.0 %", "-42.00"] and evaluated[-3:] == ["", "", ""]


def test_columns_that_nobody_has_are_left_out(workdir):
    rows = [
        row
        | {
            "kept_on_digit": {},
            "digit_kept": {},
            "energy_mj": None,
            "ac": None,
            "mac": None,
            "rates": {},
            "step_s": None,
            "peak_bytes": None,
        }
        for row in sweep_table.collect(workdir)
    ]
    table = sweep_table.summarise(rows, cells=["ssa", "stata"], baseline="stata", seeds=range(3))
    text = sweep_table.as_markdown(table, baseline="stata", seeds=range(3))
    assert text.splitlines()[0] == "| cell | seeds | top-1 | top-5 | top-1 less `stata`'s (95 % CI) |"
    (first, second) = csv.DictReader(io.StringIO(sweep_table.table_csv(table)))
    assert "energy_mj" not in first and "step_s_ratio" not in first
    assert float(first["difference"]) == pytest.approx(-0.075) and second["difference"] == ""
    assert float(second["top1_sd"]) == pytest.approx(np.std(TOP1["stata"], ddof=1))


def test_without_dense_ratios_are_to_the_baseline(workdir):
    table = summarised(workdir, cells=["ssa", "stata"], baseline="stata")
    assert table[0]["ratios"]["energy_mj"] == pytest.approx(0.01 / 0.012)
    assert "speed-up over `stata`" in sweep_table.as_markdown(table, baseline="stata", seeds=range(3))
