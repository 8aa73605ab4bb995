"""Batches as arithmetic: against lists of numbers cut by hand."""

import numpy as np
import pytest

from stata_jax.data.batches import Plan, spread
from stata_jax.data.protocol import DataError


def cut(count: int, size: int) -> list[list[int]]:
    return [list(range(count))[i : i + size] for i in range(0, count, size)]


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_processes_share_each_training_batch(processes):
    whole = [batch for batch in cut(40, 12) if len(batch) == 12]
    plans = [Plan(40, 5, 12, 6, index, processes) for index in range(processes)]
    assert {plan.steps_per_epoch for plan in plans} == {len(whole)}
    for step, batch in enumerate(whole):
        starts = [plan.train_start(7, step) for plan in plans]
        assert [s + i for s, plan in zip(starts, plans, strict=True) for i in range(plan.share)] == batch


@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("examples", [1, 5, 6, 7, 20])
def test_processes_share_each_test_batch_and_every_image_counts_once(processes, examples):
    plans = [Plan(12, examples, 12, 6, index, processes) for index in range(processes)]
    counted, shown = [], []
    for step in range(plans[0].test_steps):
        for plan in plans:
            positions, mask = plan.test_positions(step)
            assert (positions.shape, positions.dtype, mask.dtype) == ((6 // processes,), np.int32, np.bool_)
            counted += positions[mask].tolist()
            shown += positions.tolist()
    assert counted == list(range(examples))
    assert len(shown) == 6 * plans[0].test_steps and len(shown) - examples < 6
    assert shown == [i % examples for i in range(len(shown))]


def test_no_batch_beyond_the_last():
    plan = Plan(40, 5, 12, 6)
    for call in (
        lambda: plan.train_start(0, 3),
        lambda: plan.train_start(0, -1),
        lambda: plan.train_start(-1, 0),
        lambda: plan.test_positions(1),
    ):
        with pytest.raises(ValueError, match="must be"):
            call()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((11, 5, 12, 6), DataError, "11 training images, too few for one batch: lower train.batch_size, 12"),
        ((12, 0, 12, 6), DataError, "no test image"),
        ((12, 5, 0, 6), ValueError, "train.batch_size must be a positive multiple of 1 processes, got 0"),
        ((12, 5, 12, 6, 0, 4), ValueError, "eval.batch_size must be a positive multiple of 4 processes, got 6"),
        ((12, 5, 12, 6, 2, 2), ValueError, "process_index must be from 0 to 1, got 2"),
    ],
)
def test_impossible_plans(arguments, error, message):
    with pytest.raises(error, match=message):
        Plan(*arguments)


@pytest.mark.parametrize(("available", "wanted"), [(10, 0), (10, 10), (10, 1), (10, 3), (1000, 77), (0, 0)])
def test_chosen_examples_are_spread_evenly(available, wanted):
    chosen = spread(available, wanted, key="data.train_examples")
    assert len(chosen) == (wanted or available)
    assert chosen.tolist() == [i * available // len(chosen) for i in range(len(chosen))]
    assert len(set(chosen.tolist())) == len(chosen)


@pytest.mark.parametrize("wanted", [11, -1])
def test_there_must_be_as_many_examples(wanted):
    with pytest.raises(DataError, match=f"data.test_examples is {wanted}, but the data set has 10 of them"):
        spread(10, wanted, key="data.test_examples")
