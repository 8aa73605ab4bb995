"""Tests of stata_jax.pruning.placement against tables and exact fractions."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stata_jax.pruning.placement import align_positions, kept_tokens, prune_positions


@pytest.mark.parametrize(
    ("depth", "blocks"),
    [(1, (0,)), (2, (0,)), (3, (1,)), (4, (1,)), (6, (2, 5)), (8, (2, 5)), (10, (3, 6, 9)), (12, (4, 7, 10))],
)
def test_prune_positions(depth, blocks):
    assert prune_positions(depth) == blocks


@pytest.mark.parametrize(
    ("depth", "blocks"),
    [(1, (0,)), (2, (0, 1)), (3, (0, 2)), (4, (0, 2, 3)), (6, (0, 3, 5)), (8, (0, 3, 7)), (10, (0, 4, 9))],
)
def test_align_positions(depth, blocks):
    assert align_positions(depth) == blocks


@given(n=st.integers(1, 5000), hundredths=st.integers(1, 100))
def test_kept_tokens_is_the_exact_ceiling(n, hundredths):
    assert kept_tokens(n, hundredths / 100) == math.ceil(Fraction(hundredths, 100) * n)


def test_kept_tokens_where_floating_point_overshoots():
    assert math.ceil(0.07 * 100) == 8  # what the plain formula would keep
    assert kept_tokens(100, 0.07) == 7
    assert kept_tokens(65, 0.2) == 13
    assert kept_tokens(64, 0.2) == 13


def test_two_stages_at_one_fifth_keep_four_percent():
    assert kept_tokens(kept_tokens(196, 0.2), 0.2) == 8


def test_kept_tokens_bounds():
    assert kept_tokens(64, 1.0) == 64
    assert kept_tokens(1, 0.2) == 1
    assert kept_tokens(10, 1e-12) == 1


@pytest.mark.parametrize("keep_rate", [0.0, -0.1, 1.01, float("nan")])
def test_bad_keep_rate(keep_rate):
    with pytest.raises(ValueError, match=r"keep_rate must be in \(0, 1\]"):
        kept_tokens(64, keep_rate)


def test_bad_counts():
    with pytest.raises(ValueError, match="patch tokens must be at least 1, got 0"):
        kept_tokens(0, 0.5)
    for positions in (prune_positions, align_positions):
        with pytest.raises(ValueError, match="blocks must be at least 1, got 0"):
            positions(0)
