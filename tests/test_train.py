"""A whole run, small: what it leaves, resuming, evaluating, and being killed at any moment."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from PIL import Image
from small_runs import CONFIG, FLAGS, assert_same_state, final_state, run, untimed

from stata_jax import evaluate
from stata_jax.tools import sweep_grids
from stata_jax.tools.coverage_plot import read_coverage
from stata_jax.train import loop as train
from stata_jax.train import reuse


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run from start to end."""
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    assert run(workdir) == 0
    return workdir


def test_a_run_leaves_its_results(finished):
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["test_images"] == 25
    assert 0 <= summary["top1"] <= summary["top5"] <= 1
    assert summary["tokens_attention"] == [65, 14]
    assert summary["tokens_mlp"] == [14, 4]
    # With spikes as input; the first convolution at two timesteps and the head take real numbers, kept tokens or not.
    assert summary["real_macs"] == 2 * 9 * 2 * 32 * 32 + 16 * 10
    assert summary["spike_macs"] < summary["spike_macs_dense"]
    assert summary["spike_macs_ratio"] == summary["spike_macs"] / summary["spike_macs_dense"]
    assert summary["step_s"] > 0
    assert summary["peak_bytes"] > 4 * summary["parameters"]
    last = untimed(finished)[-1]
    assert last["step"] == 12
    assert last["test/top1"] == pytest.approx(summary["top1"])
    assert last["test/images"] == 25
    assert list(summary["coverage"]) == ["block0", "block1"]
    for block, shares in summary["coverage"].items():
        for name in ("kept_on_digit", "digit_kept"):
            assert [last[f"test/coverage/{block}/{name}/t{t}"] for t in (0, 1)] == pytest.approx(shares[name], rel=1e-5)
    # 13 and 3 of 64 patches are kept, and the digit of 14 pixels lies on 9 to 16 of them.
    for block, kept in (("block0", 13), ("block1", 3)):
        for on_digit, digit_kept in zip(*summary["coverage"][block].values(), strict=True):
            assert 9 / kept * digit_kept <= on_digit + 1e-6 and on_digit <= 16 / kept * digit_kept + 1e-6
    assert 9 / 64 < summary["coverage_chance"] < 16 / 64
    assert last["test/coverage_chance"] == pytest.approx(summary["coverage_chance"], rel=1e-5)
    records = read_coverage(finished / "metrics.jsonl")
    assert [(record["step"], record["epoch"]) for record in records] == [(4, 1), (8, 2), (12, 3)]
    with Image.open(finished / "tokens.png") as picture:
        assert min(picture.size) > 300
    assert list((finished / "tensorboard").glob("events*"))


def test_metrics_have_every_loss_and_firing_rate(finished):
    first = untimed(finished)[0]
    assert first["step"] == 1 and 1e-5 < first["alignment/gradient_share"] < 1
    weight = {name: first[f"alignment/{name}"] for name in ("cross_entropy", "alpha_intra", "beta_inter")}
    assert all(value > 0 for value in weight.values())
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["alignment"]["gradient_share"] == pytest.approx(first["alignment/gradient_share"], rel=1e-5)
    train = [line for line in untimed(finished) if "train/loss" in line]
    assert [line["step"] for line in train] == [2, 4, 6, 8, 10, 12]
    for line in train:
        total = line["train/cross_entropy"] + 0.01 * line["train/intra"] + 0.01 * line["train/inter"]
        assert line["train/loss"] == pytest.approx(total, rel=1e-5)
        assert line["train/alpha_intra"] == pytest.approx(0.01 * line["train/intra"], rel=1e-5)
        rates = {name: value for name, value in line.items() if name.startswith("train/rates/")}
        assert len(rates) == 4 + 2 * 7
        assert all(0 <= rate <= 1 for rate in rates.values())
    assert train[0]["train/learning_rate"] < train[1]["train/learning_rate"]  # the warm-up


def test_a_finished_run_says_so_and_keeps_its_state(finished, capsys):
    before, summary = final_state(finished), json.loads((finished / "summary.json").read_text())
    assert run(finished) == 0
    assert "this run is finished" in capsys.readouterr().out
    assert_same_state(final_state(finished), before)
    assert json.loads((finished / "summary.json").read_text()) == summary


def test_evaluate_repeats_the_accuracy(finished, capsys):
    summary = json.loads((finished / "summary.json").read_text())
    result = evaluate.evaluate(finished)
    assert result["step"] == 12
    assert result["top1"] == pytest.approx(summary["top1"])
    assert evaluate.main([f"--workdir={finished}", "--config.data.test_examples=7"]) == 0
    said = capsys.readouterr().out
    assert "(7 images)" in said and "block0: " in said and "block1: " in said
    assert evaluate.main([f"--workdir={finished}"]) == 0
    on_digit, kept = (100 * np.mean(summary["coverage"]["block0"][name]) for name in ("kept_on_digit", "digit_kept"))
    chance = 100 * summary["coverage_chance"]
    assert capsys.readouterr().out.splitlines()[-2] == (
        f"block0: {on_digit:.0f} % of the kept tokens lie on the digit ({chance:.0f} % of all do), "
        f"{kept:.0f} % of the digit's are kept"
    )


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--config.model.dim=32"], "has model.dim=16, this config 32"),
        (["--config.model.dmi=32"], "model.dim"),
        (["--step=999"], "no checkpoint of step 999"),
        (["--config.model.family=sdt"], "has model.family=spikingformer, this config sdt: set --config.model.family="),
        (["--config.model.heads=4"], "has model.heads=2, this config 4"),
        (["--config.model.tau=1.5"], "has model.tau=2.0, this config 1.5"),
        (["--config.model.attention_threshold=0.25"], "has model.attention_threshold=0.5, this config 0.25"),
        (["--config.sparsity.pool=tokens"], "has sparsity.pool=all, this config tokens"),
    ],
)
def test_evaluate_names_a_mistake(finished, capsys, flags, words):
    assert evaluate.main([f"--workdir={finished}", *flags]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_evaluate_needs_a_run(tmp_path, capsys):
    assert evaluate.main([f"--workdir={tmp_path}"]) == 2
    assert "holds no run" in capsys.readouterr().err


def test_another_config_does_not_continue_a_run(finished, capsys):
    assert run(finished, "--config.sparsity.keep_rate=0.5") == 2
    error = capsys.readouterr().err
    assert "sparsity.keep_rate=0.2, not 0.5, and that cannot change in a run that has begun" in error
    assert "--workdir" in error and "delete" not in error


def test_damaged_files_are_named(finished, tmp_path, capsys):
    for name, content in (("config.json", "{"), ("metrics.jsonl", 'broken\n{"step": 1}\n')):
        workdir = tmp_path / name
        shutil.copytree(finished, workdir)
        (workdir / name).write_text(content)
        assert run(workdir) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("error: ")
        assert name in error


def test_an_older_run_whose_data_moved_goes_on_past_an_unreadable_checkpoint(finished, tmp_path, capsys):
    """It is from before some keys existed, and there is a stray folder, newer than all checkpoints."""
    workdir = tmp_path / "old"
    shutil.copytree(finished, workdir)
    settings = json.loads((workdir / "config.json").read_text())
    for key in ("optimizer", "accumulate", "ema_decay", "cooldown_epochs", "schedule_by", "base_batch_size"):
        del settings["train"][key]
    (workdir / "config.json").write_text(json.dumps(settings))
    assert run(workdir, "--config.train.ema_decay=0.5") == 2
    assert "train.ema_decay=0.0, not 0.5" in capsys.readouterr().err
    steps = sorted(int(folder.name) for folder in (workdir / "checkpoints").iterdir() if folder.name.isdigit())
    (workdir / "checkpoints" / str(steps[-1] + 1)).mkdir()
    flags = ["--config.data.data_dir=/elsewhere", "--config.data.manual_dir=/there", "--config.data.workers=2"]
    assert run(workdir, *flags) == 0
    assert "this run is finished" in capsys.readouterr().out
    assert_same_state(final_state(workdir), final_state(finished))


def test_a_run_with_every_option_of_the_recipes_resumes(tmp_path, monkeypatch, capsys):
    """Stopped in the middle of the second epoch: the same state, averages and metrics as without a stop."""
    options = {"optimizer": "lamb", "grad_clip": 1.0, "accumulate": 2, "ema_decay": 0.9, "cooldown_epochs": 1}
    options |= {"schedule_by": "epoch"}
    changes = {f"train.{key}": value for key, value in options.items()}
    flags = sweep_grids.flags(changes | {"model.depth": 1, "sparsity.prune_at": (0,)})
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert run(whole, *flags) == 0
    assert "(averaged weights)" in capsys.readouterr().err
    batch_of, asked = train._Run._train_batch, []

    def stop(self, step):
        asked.append(step)
        if step == 7:
            raise KeyboardInterrupt
        return batch_of(self, step)

    with monkeypatch.context() as patched:
        patched.setattr(train._Run, "_train_batch", stop)
        assert run(stopped, *flags) != 0
    assert asked == list(range(8))  # each batch once, the first one too
    assert run(stopped, *flags) == 0
    assert "resuming after step 6 of 12" in capsys.readouterr().out
    ours, theirs = (final_state(folder, ema=True) for folder in (stopped, whole))
    assert_same_state(ours, theirs)
    assert untimed(stopped) == untimed(whole)
    assert np.abs(ours.ema["params"]["head"]["kernel"] - ours.params["head"]["kernel"]).max() > 0
    rates = [line["train/learning_rate"] for line in untimed(whole) if "train/loss" in line]
    assert rates == pytest.approx([1e-5, 1e-5, 2.005e-3, 2.005e-3, 1e-5, 1e-5])
    # What is evaluated, and what another run would start from, are the averages.
    variables, _ = reuse.read_variables(whole)
    jax.tree.map(np.testing.assert_array_equal, variables, theirs.ema)
    assert evaluate.main([f"--workdir={whole}"]) == 0
    assert "(25 images, averaged weights)" in capsys.readouterr().out
    summary = json.loads((whole / "summary.json").read_text())
    assert evaluate.evaluate(whole)["top1"] == pytest.approx(summary["top1"])


def test_killed_at_random_moments_a_run_ends_with_the_same_parameters(finished, tmp_path):
    """Five times kill -9 at a random moment after the start of training; a sixth start runs to the end."""
    workdir = tmp_path / "killed"
    command = [sys.executable, "-m", "stata_jax.main", f"--config={CONFIG}", f"--workdir={workdir}", *FLAGS]
    moments = random.Random(0)
    log = tmp_path / "log"
    kills = 0
    for _ in range(5):
        with log.open("w") as stream:
            process = subprocess.Popen(
                command, stdout=stream, stderr=stream, env=os.environ | {"PYTHONUNBUFFERED": "1"}
            )
            deadline = time.monotonic() + 120
            while "compiled the training step" not in log.read_text() and process.poll() is None:
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.02)
            time.sleep(moments.uniform(0, 1.5))
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                kills += 1
            process.wait()
    assert kills, "every run was over before it could be killed"
    assert run(workdir) == 0
    assert_same_state(final_state(workdir), final_state(finished))
    # A kill may fall between a line and its checkpoint; the line is then written again, never twice.
    assert untimed(workdir) == untimed(finished)
