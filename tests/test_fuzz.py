"""Any values of any options: a config either can be trained, as far as shapes tell, or is refused in one sentence.

`STATA_FUZZ=2000` tries as many configs instead of 200.
"""

import functools
import os
import re

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

from stata_jax import build, config
from stata_jax.config.options import OPTIONS
from stata_jax.train.state import create_state

TRIES = int(os.environ.get("STATA_FUZZ", "200"))
SMALL = {"model.dim": 16, "model.depth": 2, "model.heads": 2, "model.timesteps": 2, "train.kernels": "plain"}
WORDS = re.compile(r"[A-Za-z0-9_.]+")
LARGEST = 2**14  # of what a case that is traced may have in an option: tracing makes arrays of positions


@functools.cache
def words_of(key):
    """Words that the documentation of an option names, some of which are its values."""
    return sorted({*WORDS.findall(OPTIONS[key].rule.possible), *WORDS.findall(OPTIONS[key].comment)})


NEAR = [
    "0",
    "1",
    "2",
    "3",
    "4",
    "8",
    "16",
    "24",
    "-1",
    "0.1",
    "0.5",
    "0.9",
    "1.5",
    "1e-9",
    "-0.0",
    "1e308",
    "nan",
    "inf",
]
ODD = [
    "",
    " ",
    "None",
    "true",
    "false",
    "()",
    "(",
    "[1",
    "os:system",
    "a:b",
    "0,0",
    "0,1",
    "0.2,1",
    "1_0",
    "0110",
    "é",
    "-",
]


@functools.cache
def possible_of(key):
    """Those of the near values that the option takes."""
    defaults = config.defaults()

    def is_possible(text):
        try:
            (value,) = config.parse_overrides(defaults, [f"--config.{key}={text}"]).values()
        except config.ConfigError:
            return False
        return OPTIONS[key].rule.is_possible(value)

    default = OPTIONS[key].default
    typed = "None" if default is None else str(default).strip("()")
    return [typed, *filter(is_possible, [*NEAR, *ODD, *words_of(key)])]


def values_of(key):
    """Values of an option as they are typed: mostly possible ones, or near and far, of its type and of another."""
    numbers = st.one_of(st.integers(-(2**70), 2**70), st.integers(0, 64), st.floats()).map(str)
    tuples = st.lists(st.integers(-1, 5), max_size=4).map(lambda items: ",".join(map(str, items)) or "()")
    words = st.sampled_from([*NEAR, *ODD, *words_of(key)])
    wild = st.one_of(numbers, tuples, words, st.text(max_size=8))
    return st.integers(0, 7).flatmap(lambda die: st.sampled_from(possible_of(key)) if die else wild)


CASES = st.lists(
    st.sampled_from(sorted(OPTIONS)).flatmap(lambda key: st.tuples(st.just(key), values_of(key))),
    min_size=1,
    max_size=4,
)


def trace(settings):
    """A training step and a test of the config, as far as shapes tell; nothing is computed."""
    build.check_devices(settings, parts=("train", "eval"))
    optimizer, schedule = build.optimizer(settings, steps_per_epoch=8)
    float(schedule(0))
    size = settings.train.batch_size
    image = jax.ShapeDtypeStruct((size, *build.image_shape(settings)), jnp.float32)
    batch = {"image": image, "label": jax.ShapeDtypeStruct((size,), jnp.int32)}
    key = jax.eval_shape(lambda: jax.random.key(0))
    make = functools.partial(create_state, build.model(settings), optimizer, image, ema=settings.train.ema_decay > 0)
    state = jax.eval_shape(lambda key: make(key=key), key)
    step = functools.partial(build.step(settings, optimizer, steps_per_epoch=8), axis_name=None)
    step.keywords["model"] = step.keywords["model"].clone(axis_name=None)
    after, metrics = jax.eval_shape(step, state, batch, key)
    assert jax.tree.structure(after) == jax.tree.structure(state) and metrics["loss"].shape == ()


@hypothesis.settings(max_examples=TRIES, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(CASES)
def test_a_config_is_accepted_or_refused_in_a_sentence(case):
    base = config.apply_overrides(config.load("digits"), SMALL)
    try:
        settings = config.apply_overrides(base, config.parse_overrides(base, [f"--config.{k}={v}" for k, v in case]))
        config.check(settings)
        numbers = [
            value for key in OPTIONS for value in np.ravel(settings[key]) if isinstance(value, (int, np.integer))
        ]
        if max(map(abs, numbers)) <= LARGEST or "data.test_seed" in dict(case) or "seed" in dict(case):
            trace(settings)
    except config.ConfigError as error:
        text = str(error)
        assert text and "Traceback" not in text
        # A value may be quoted with line breaks of its own; what the programs print is one line in any case.
        told = {key for key, _ in case} | {key.split(".")[-1] for key, _ in case}
        assert any(name in text for name in told), f"{text!r} names none of {sorted(told)}"
