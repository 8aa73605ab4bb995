"""No two kinds of random numbers of a run are drawn from the same key."""

import itertools

import jax
import numpy as np

from stata_jax import build
from stata_jax.config import apply_overrides
from stata_jax.configs import digits
from stata_jax.streams import Stream, stream_key
from stata_jax.train import loop as train


def descendants(key, count=12):
    """The raw numbers of a key, of its children and of theirs."""
    children = [jax.random.fold_in(key, i) for i in range(count)]
    keys = [key, *children, *itertools.chain.from_iterable(jax.random.split(child, count) for child in children)]
    return {tuple(np.asarray(jax.random.key_data(each)).tolist()) for each in keys}


def test_no_two_streams_coincide():
    """The key of image 0 in epoch 3 was that of step 3 on the first device, for one."""
    settings = apply_overrides(digits.get_config(), {"seed": 5, "data.test_seed": 5})
    source, run = build.source(settings), train._Run(settings)
    assert descendants(source.train_key).isdisjoint(descendants(run.key))
    assert descendants(source.train_key).isdisjoint(descendants(source.test_key))
    assert descendants(source.test_key).isdisjoint(descendants(run.key))
    streams = [descendants(stream_key(5, stream)) for stream in Stream]
    assert all(ours.isdisjoint(theirs) for ours, theirs in itertools.combinations(streams, 2))
    assert all(len(each) == 1 + 12 + 144 for each in streams)
    assert descendants(jax.random.key(5)).isdisjoint(set().union(*streams))
