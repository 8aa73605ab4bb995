"""Tests of stata_jax.kernels.hardware."""

import jax
import jax.numpy as jnp
import pytest

from stata_jax.kernels import hardware


def choose(x):
    return hardware.by_hardware(x, cpu=lambda x: x + 1, default=lambda x: x - 1)


@pytest.mark.parametrize(("platform", "expected"), [("cpu", 3), ("gpu", 1), ("tpu", 1)])
def test_only_one_form_is_traced(platform, expected, monkeypatch):
    monkeypatch.setattr(hardware, "platform", lambda: platform)
    program = jax.make_jaxpr(choose)(jnp.asarray(2))
    assert len(program.eqns) == 1
    assert int(choose(jnp.asarray(2))) == expected


def test_the_default_device_counts_first(monkeypatch):
    assert hardware.platform() == jax.default_backend()
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert hardware.platform() == "gpu"
    for cpu in (jax.devices("cpu")[0], "cpu"):
        with jax.default_device(cpu):
            assert hardware.platform() == "cpu"
