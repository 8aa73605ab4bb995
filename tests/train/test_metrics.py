"""Tests of stata_jax.train.metrics: resuming, rounding, atomic files and TensorBoard events."""

import json
import math
import os
import struct

import jax.numpy as jnp
import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event

from stata_jax.train.metrics import MetricsWriter, write_json


def read(workdir):
    def refuse(literal):
        raise AssertionError(f"not JSON: {literal}")

    text = (workdir / "metrics.jsonl").read_text()
    assert not text or text.endswith("\n")
    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def read_events(workdir):
    """All TensorBoard events in the order in which TensorBoard reads the files."""
    events = []
    for path in sorted((workdir / "tensorboard").iterdir()):
        data, start = path.read_bytes(), 0
        while start < len(data):
            (size,) = struct.unpack_from("<Q", data, start)
            events.append(Event.FromString(data[start + 12 : start + 12 + size]))
            start += 12 + size + 4
    return events


def visible_scalars(workdir):
    """What TensorBoard shows: a session start hides everything before it from its step on."""
    shown = []
    for event in read_events(workdir):
        if event.session_log.status == 1:
            shown = [scalar for scalar in shown if scalar[0] < event.step]
        shown += [(event.step, value.tag, round(value.simple_value, 4)) for value in event.summary.value]
    return shown


def train(workdir, steps, *, resume_step=0):
    with MetricsWriter(workdir, resume_step=resume_step) as writer:
        for step in steps:
            writer.write(step, {"loss": 1 / step, "eval": {"accuracy": step / 10}})


def test_lines_are_flat_ordered_and_rounded(tmp_path):
    with MetricsWriter(tmp_path, resume_step=0) as writer:
        writer.write(
            3,
            {
                "loss": 0.123456789,
                "rate": {"0": {"mlp": 1.23456789e-7}, "head": jnp.asarray(0.5, jnp.bfloat16)},
                "large": np.float32(1234567.0),
                "epoch": 2,
                "seen": jnp.asarray(7),
            },
        )
    assert (tmp_path / "metrics.jsonl").read_text() == (
        '{"step": 3, "loss": 0.123457, "rate/0/mlp": 1.23457e-07, "rate/head": 0.5, "large": 1234570.0, '
        '"epoch": 2, "seen": 7}\n'
    )


def test_lists_are_over_timesteps(tmp_path):
    with MetricsWriter(tmp_path, resume_step=0) as writer:
        writer.write(2, {"test": {"kept": [0.5, math.nan, 1 / 3], "none": []}})
    assert read(tmp_path) == [{"step": 2, "test/kept/t0": 0.5, "test/kept/t1": None, "test/kept/t2": 0.333333}]
    assert visible_scalars(tmp_path) == [(2, "test/kept/t0", 0.5), (2, "test/kept/t2", 0.3333)]


def test_not_finite_is_null(tmp_path):
    with MetricsWriter(tmp_path, resume_step=0) as writer:
        writer.write(1, {"loss": math.nan, "norm": np.float32(np.inf), "rate": 0.25})
    assert read(tmp_path) == [{"step": 1, "loss": None, "norm": None, "rate": 0.25}]
    assert visible_scalars(tmp_path) == [(1, "rate", 0.25)]


def test_each_line_is_on_disk_when_write_returns(tmp_path):
    with MetricsWriter(tmp_path, resume_step=0) as writer:
        for step in (1, 2):
            writer.write(step, {"loss": 1.0})
            assert [line["step"] for line in read(tmp_path)] == list(range(1, step + 1))


@pytest.mark.parametrize("torn", [b"", b'{"step": 7, "lo', b"{", b'{"step": 7, "loss": 0.5}', b"\x00\x00"])
def test_a_resumed_file_equals_an_uninterrupted_one(tmp_path, torn):
    train(tmp_path / "whole", range(1, 10))
    train(tmp_path / "cut", range(1, 7))
    with (tmp_path / "cut" / "metrics.jsonl").open("ab") as file:
        file.write(torn)
    train(tmp_path / "cut", range(5, 10), resume_step=4)
    whole, cut = (tmp_path / name / "metrics.jsonl" for name in ("whole", "cut"))
    assert whole.read_bytes() == cut.read_bytes()
    assert visible_scalars(tmp_path / "cut") == visible_scalars(tmp_path / "whole")
    assert os.listdir(tmp_path / "cut") == os.listdir(tmp_path / "whole")  # no temporary file stays


def test_a_whole_line_that_lacks_its_end_is_kept(tmp_path):
    train(tmp_path, [1, 2])
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-1])
    train(tmp_path, [3], resume_step=2)
    assert [line["step"] for line in read(tmp_path)] == [1, 2, 3]


def test_the_step_of_the_checkpoint_is_kept(tmp_path):
    train(tmp_path, [1, 2, 2, 3])
    train(tmp_path, [], resume_step=2)
    assert [line["step"] for line in read(tmp_path)] == [1, 2, 2]
    assert {step for step, *_ in visible_scalars(tmp_path)} == {1, 2}


def test_an_untouched_file_is_not_rewritten(tmp_path):
    train(tmp_path, [1, 2])
    before = (tmp_path / "metrics.jsonl").stat().st_ino
    train(tmp_path, [], resume_step=2)
    assert (tmp_path / "metrics.jsonl").stat().st_ino == before


def test_a_fresh_run_starts_an_empty_file(tmp_path):
    with MetricsWriter(tmp_path, resume_step=0) as writer:
        writer.write(0, {"accuracy": 0.1})
    train(tmp_path, [1])
    assert read(tmp_path) == [{"step": 1, "loss": 1.0, "eval/accuracy": 0.1}]
    assert {step for step, *_ in visible_scalars(tmp_path)} == {1}


@pytest.mark.parametrize("line", [b"not json", b"[1]", b'{"loss": 1}', b'{"step": 1.5}', b""])
def test_a_broken_line_in_the_middle_is_an_error(tmp_path, line):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n' + line + b'\n{"step": 2}\n')
    with pytest.raises(ValueError, match="line 2: not a JSON object"):
        MetricsWriter(tmp_path, resume_step=2)
    assert path.read_bytes().startswith(b'{"step": 1}\n' + line)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"step": 1.0}, "other than"),
        ({"a": {"b": 1.0}, "a/b": 2.0}, "'a/b'"),
        ({"": 1.0}, "a name of its own"),
        ({"loss": np.ones(2)}, "'loss' must be one number"),
        ({"loss": "high"}, "'loss' must be one number"),
        ({"loss": [1.0, "high"]}, "'loss/t1' must be one number"),
        ({"loss": None}, "'loss' must be one number"),
    ],
)
def test_bad_metrics_write_nothing(tmp_path, values, message):
    with MetricsWriter(tmp_path, resume_step=0) as writer, pytest.raises(ValueError, match=message):
        writer.write(1, values)
    assert read(tmp_path) == []


def test_negative_steps(tmp_path):
    with pytest.raises(ValueError, match="got -1"):
        MetricsWriter(tmp_path, resume_step=-1)
    with MetricsWriter(tmp_path, resume_step=0) as writer, pytest.raises(ValueError, match="got -2"):
        writer.write(-2, {})


def test_write_json(tmp_path):
    path = tmp_path / "new" / "summary.json"
    write_json(path, {"old": True})
    obj = {"a": (1, 2.5), "nan": math.nan, "np": np.float64(np.inf), "jax": jnp.arange(2), "none": None, "s": "x"}
    write_json(path, obj)
    text = path.read_text()
    assert json.loads(text) == {"a": [1, 2.5], "nan": None, "np": None, "jax": [0, 1], "none": None, "s": "x"}
    assert text.endswith("}\n") and "NaN" not in text
    assert os.listdir(path.parent) == ["summary.json"]


def test_write_json_leaves_the_old_file_when_it_fails(tmp_path, monkeypatch):
    path = tmp_path / "summary.json"
    write_json(path, [1])
    with pytest.raises(TypeError):
        write_json(path, {"bad": object()})

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        write_json(path, [2])
    assert path.read_text() == "[\n  1\n]\n"
    assert os.listdir(tmp_path) == ["summary.json"]
