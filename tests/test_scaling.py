"""The scaling command: what it compiles, what it leaves, memory that it lets go, and mistakes."""

import gc
import json

import jax
import pytest

from stata_jax import scaling
from stata_jax.tools import profiling, programs
from stata_jax.tools.profiling import Timing

TINY = ["--config.model.dim=16", "--config.model.depth=1", "--config.model.heads=2"]
MODEL = "--model=spikingformer_4_384"


@pytest.fixture
def known(monkeypatch):
    """Programs that are not run: dense takes 10 ms for each timestep of an image of 32x32, pruned half of it; gives the
    list of the configs that were asked for."""
    asked = []

    def prepare(settings, mode):
        asked.append(settings)
        return lambda: None, {"mode": mode, "peak_bytes": 1000 * settings.train.batch_size}

    def time_alternately(calls, **options):
        pair = asked[-len(calls) :]
        sizes = [s.train.batch_size * s.model.timesteps * s.data.image_size**2 / 1024 for s in pair]
        return {name: Timing((0.01 * size / (1 + i),)) for i, (name, size) in enumerate(zip(calls, sizes, strict=True))}

    monkeypatch.setattr(programs, "prepare", prepare)
    monkeypatch.setattr(profiling, "time_alternately", time_alternately)
    return asked


def test_a_real_run(tmp_path, monkeypatch, capsys):
    held, prepare = [], programs.prepare

    def counting(settings, mode):
        held.append(sum(array.nbytes for array in jax.live_arrays()))
        return prepare(settings, mode)

    monkeypatch.setattr(programs, "prepare", counting)
    gc.collect()  # what other tests have left
    flags = [MODEL, "--values=1,2", "--mode=infer", "--keep_rates=0.2", "--rounds=2", "--batch_size=2", *TINY]
    assert scaling.main([*flags, f"--output={tmp_path / 'new'}"]) == 0
    out = capsys.readouterr().out
    assert "; 1 of 2, about 0:" in out and "; 2 of 2, about 0:00 left" in out
    result = json.loads((tmp_path / "new" / "scaling.json").read_text())
    assert [(row["value"], row["keep_rate"]) for row in result["rows"]] == [(1, 0.2), (2, 0.2)]
    for row in result["rows"]:
        assert row["unit_s"] == pytest.approx(row["step_s"] / row["value"]) and row["peak_bytes"] > 0
    assert (tmp_path / "new" / "scaling.md").read_text().strip() in out
    assert (tmp_path / "new" / "scaling.png").stat().st_size > 10_000
    assert len(held) == 2 and held[1] <= held[0]  # what the first value needed is gone


def test_timesteps(known, capsys):
    assert scaling.main([MODEL, "--values=1,2,8", "--batch_size=3"]) == 0
    assert [s.model.timesteps for s in known] == [1, 1, 2, 2, 8, 8]
    assert [(s.sparsity.keep_rate, s.sparsity.anchor) for s in known[:2]] == [(1.0, False), (0.2, True)]
    assert {s.train.batch_size for s in known} == {3} and {s.data.image_size for s in known} == {32}
    out = capsys.readouterr().out
    assert "| 8 | 0.2 | 120 ± 0 ms | 15.0 ms | 1.00 | 0.00300 MB | 0.00 | x2.00 |" in out
    assert "keep rate 1: time grows as timesteps^1.00; linear or better (at most 1.05," in out


def test_tokens_are_patches_of_the_stem(known, capsys):
    assert scaling.main([MODEL, "--vary=tokens", "--values=64,196", "--keep_rates=1"]) == 0
    assert [s.data.image_size for s in known] == [32, 56]
    assert scaling.main([MODEL, "--vary=tokens", "--values=4,9", "--keep_rates=1", "--config.model.pooling=1111"]) == 0
    assert [s.data.image_size for s in known[2:]] == [32, 48]
    assert "training step, batch 16, T 4, float32" in capsys.readouterr().out


def test_smallest_batch_that_pays(known, tmp_path, capsys):
    flags = [MODEL, "--vary=batch_size", "--values=1,4", "--mode=infer", f"--output={tmp_path}"]
    assert scaling.main(flags) == 0
    assert [s.train.batch_size for s in known] == [1, 1, 4, 4]
    assert "faster than keep rate 1 beyond the spread from a batch of 1 on" in capsys.readouterr().out
    result = json.loads((tmp_path / "scaling.json").read_text())
    assert result["gains"] == [{"keep_rate": 0.2, "pays_at": [1, 4], "not_at": []}] and result["batch_size"] is None


@pytest.mark.parametrize(("fits", "code"), [(2, 0), (1, 2)])
def test_a_value_that_does_not_fit_ends_the_series(known, monkeypatch, capsys, fits, code):
    prepare = programs.prepare

    def small(settings, mode):
        if settings.model.timesteps > fits:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return prepare(settings, mode)

    monkeypatch.setattr(programs, "prepare", small)
    assert scaling.main([MODEL, "--values=1,2,3,4"]) == code
    out, error = capsys.readouterr()
    if code:
        assert error == "error: timesteps 2 does not fit into memory: choose smaller --values\n"
    else:
        assert "timesteps 3 does not fit into memory: the series ends before it" in out
        assert "| 2 | 0.2 |" in out and "| 3 | 1 |" not in out


def test_other_failures_pass_through(known, monkeypatch):
    def broken(settings, mode):
        raise jax.errors.JaxRuntimeError("INTERNAL: a bug")

    monkeypatch.setattr(programs, "prepare", broken)
    with pytest.raises(jax.errors.JaxRuntimeError, match="a bug"):
        scaling.main([MODEL, "--values=1,2"])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--model is missing"),
        (["--model=resnet"], "--model is 'resnet', but it must be one of"),
        ([MODEL, "--vary=depth"], "invalid choice: 'depth'"),
        ([MODEL, "--mode=both"], "invalid choice: 'both'"),
        ([MODEL, "--values=1,x"], "--values is '1,x', but it must be rising whole numbers"),
        ([MODEL, "--values=4"], "--values is '4', but it must be rising whole numbers, at least two"),
        ([MODEL, "--values=4,2"], "--values is '4,2'"),
        ([MODEL, "--values=0,2"], "--values is '0,2'"),
        (
            [MODEL, "--vary=tokens", "--values=64,100,110"],
            "--values names 110, but tokens must be a square: try 100 or 121",
        ),
        ([MODEL, "--vary=batch_size", "--values=1,9999"], "train.batch_size is 9999"),
        ([MODEL, "--vary=batch_size", "--batch_size=4"], "--batch_size is 4, but with --vary=batch_size"),
        ([MODEL, "--batch_size=0"], "train.batch_size is 0"),
        ([MODEL, "--keep_rates=a"], "--keep_rates is 'a'"),
        ([MODEL, "--keep_rates=1,1.0"], "--keep_rates is '1,1.0', but each may be there once"),
        ([MODEL, "--keep_rates=2"], "sparsity.keep_rate is 2.0"),
        ([MODEL, "--rounds=0"], "--rounds is 0"),
        ([MODEL, "--config.model.timesteps=2"], "--config.model.timesteps is set by --values here"),
        ([MODEL, "--config.sparsity.keep_rate=0.5"], "--config.sparsity.keep_rate is set by --keep_rates here"),
        ([MODEL, "--output=/dev/null/there"], "cannot be written"),
    ],
)
def test_mistakes_are_one_sentence(known, flags, message, capsys):
    assert scaling.main(flags) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not known
