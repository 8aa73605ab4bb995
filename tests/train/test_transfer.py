"""Starting from other weights: what is taken, what starts anew and what is refused."""

import numpy as np
import pytest

from stata_jax.train.transfer import TransferError, transfer


def variables(value, *, classes=10, anchor=False, dim=4, extra=()):
    params = {
        "head": {"kernel": np.full((dim, classes), value), "bias": np.full(classes, value)},
        "block0": {"mlp": {"up": {"kernel": np.full((dim, 8), value)}}},
    }
    if anchor:
        params["anchor"] = np.full(dim, value)
    params |= {name: np.full(2, value) for name in extra}
    return {"params": params, "batch_stats": {"norm": {"mean": np.full(dim, value)}}}


def test_all_is_taken_where_all_fits():
    taken, notes = transfer(variables(0.0), variables(1.0))
    assert notes == []
    assert (taken["params"]["block0"]["mlp"]["up"]["kernel"] == 1).all()
    assert (taken["params"]["head"]["bias"] == 1).all()
    assert (taken["batch_stats"]["norm"]["mean"] == 1).all()


def test_another_number_of_classes_replaces_the_head():
    taken, notes = transfer(variables(0.0, classes=3), variables(1.0))
    assert (taken["params"]["head"]["kernel"] == 0).all() and taken["params"]["head"]["kernel"].shape == (4, 3)
    assert (taken["params"]["block0"]["mlp"]["up"]["kernel"] == 1).all()
    assert sorted(notes) == [
        "params/head/bias: 10 classes there and 3 here, starts anew",
        "params/head/kernel: 10 classes there and 3 here, starts anew",
    ]


def test_an_anchor_is_added_or_left_out():
    taken, notes = transfer(variables(0.0, anchor=True), variables(1.0))
    assert (taken["params"]["anchor"] == 0).all() and notes == ["params/anchor: not there, starts anew"]
    taken, notes = transfer(variables(0.0), variables(1.0, anchor=True))
    assert "anchor" not in taken["params"] and notes == ["params/anchor: there but not here, left out"]


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (variables(1.0, dim=5), r"has shape \(5, 8\) and not \(4, 8\)"),
        (variables(1.0, extra=("pos",)), "params/pos is left over"),
        ({"params": {}, "batch_stats": {}}, "params/block0/mlp/up/kernel is missing; .* and 1 more"),
    ],
)
def test_anything_else_is_refused(found, message):
    with pytest.raises(TransferError, match=message):
        transfer(variables(0.0), found)
