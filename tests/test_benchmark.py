"""The benchmark command: what it times, the ratios of its table, and mistakes."""

import json
import os

import pytest

from stata_jax import benchmark, config
from stata_jax.tools import bench, peer_programs, programs
from stata_jax.tools.profiling import Timing

SMALL = ["--config.model.dim=16", "--config.model.heads=2", "--config.data.image_size=16", "--config.model.depth=1"]


def test_ratios_of_the_table(monkeypatch, tmp_path, capsys):
    """With calls that are not run, so that every number is known."""
    from stata_jax.tools import profiling

    asked, times = [], []

    def prepare(settings, mode):
        rate = settings.sparsity.keep_rate
        asked.append((mode, rate, settings.sparsity.anchor, settings.align.alpha))
        facts = {"compile_s": 1.0, "flops": int(4e9), "temp_bytes": int(rate * 1e9), "peak_bytes": int(rate * 2e9)}
        return lambda: None, facts

    monkeypatch.setattr(programs, "prepare", prepare)
    timings = {"keep rate 1": Timing((0.3, 0.4, 0.5)), "keep rate 0.2": Timing((0.02, 0.02, 0.0204))}

    def time_alternately(calls, **options):
        times.append(options)
        return {name: timings[name] for name in calls}

    monkeypatch.setattr(profiling, "time_alternately", time_alternately)
    flags = ["--model=spikingformer_4_384", "--batch_size=8", "--rounds=3", "--in_a_row=7", f"--output={tmp_path}"]
    assert benchmark.main(flags) == 0
    assert times == [{"rounds": 3, "in_a_row": 7}] * 2
    assert asked == [
        (mode, *pruned) for mode in ("train", "infer") for pruned in ((1.0, False, 0.0), (0.2, True, 0.01))
    ]
    table = capsys.readouterr().out
    assert "| train | 1 | 400 ± 50 ms | 20.0 | x1.00 | 1.0 s | 4.0 G | 1000 MB | 2000 MB | 100 % |" in table
    assert "| train | 0.2 | 20.0 ± 0.1 ms | 400.0 | x20.00 | 1.0 s | 4.0 G | 200 MB | 400 MB | 20 % |" in table
    assert "median of 3 means of 7 calls in a row" in table
    assert (tmp_path / "benchmark.md").read_text().strip() in table
    result = json.loads((tmp_path / "benchmark.json").read_text())
    assert result["model"] == "spikingformer_4_384" and len(result["rows"]) == 4


def test_a_real_run(capsys):
    flags = ["--model=sdt_2_256", "--rounds=2", "--batch_size=2", "--keep_rates=0.2", *SMALL]
    assert benchmark.main(flags) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[:2] for line in lines if "ms" in line] == [["| train", "0.2"], ["| infer", "0.2"]]


def test_kernels_are_compared(tmp_path, capsys):
    flags = ["--model=sdt_2_256", "--modes=infer", "--rounds=2", "--batch_size=2", "--keep_rates=1", *SMALL]
    assert benchmark.main([*flags, "--kernels=plain,cpu-max_pool", f"--output={tmp_path}"]) == 0
    lines = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if "ms" in line]
    assert [line[2] for line in lines] == ["plain", "cpu-max_pool"]
    plain, fast = json.loads((tmp_path / "benchmark.json").read_text())["rows"]
    assert plain["flops"] != fast["flops"] or plain["temp_bytes"] != fast["temp_bytes"]  # other programs


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--model is missing"),
        (["--model=resnet"], "--model is 'resnet', but it must be one of spikformer_4_384"),
        (["--model=sdt_2_256", "--keep_rates=a"], "--keep_rates is 'a'"),
        (["--model=sdt_2_256", "--keep_rates=0"], "sparsity.keep_rate is 0.0"),
        (["--model=sdt_2_256", "--rounds=0"], "--rounds is 0"),
        (["--model=sdt_2_256", "--in_a_row=0"], "--in_a_row is 0"),
        (["--model=sdt_2_256", "--kernels=plain,fast"], "train.kernels is 'fast', but it must be one of auto, plain"),
        (["--model=sdt_2_256", "--modes=fly"], "--modes names 'fly'"),
        (["--model=sdt_2_256", "--batch_size=0"], "train.batch_size is 0"),
    ],
)
def test_mistakes_are_one_sentence(flags, message, capsys):
    assert benchmark.main(flags) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_events_come_as_recordings():
    settings = bench.settings_for("spikformer_2_256_dvs", keep_rate=1.0, batch_size=2, overrides={})
    assert (settings.data.channels, settings.data.image_size, settings.model.timesteps) == (2, 128, 16)
    config.check(settings)


def test_an_accelerator_has_memory_left_for_peers(monkeypatch):
    monkeypatch.setattr(os, "environ", {})
    peer_programs.leave_memory()
    assert os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "true"  # what the user says
    peer_programs.leave_memory()
    assert os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "true"


@pytest.mark.parametrize("peers", [[], ["spikingjelly"]])
def test_memory_is_left_only_with_peers(peers, monkeypatch):
    class AskedError(Exception):
        pass

    def leave_memory():
        raise AskedError

    monkeypatch.setattr(peer_programs, "leave_memory", leave_memory)
    with pytest.raises(AskedError if peers else config.ConfigError):  # the model is looked for later
        bench.measure("no_such_model", keep_rates=[1], batch_size=2, rounds=1, peers=peers)
