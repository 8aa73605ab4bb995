"""Recordings that were cut off or altered: events on the sensor, or a sentence that names the file."""

import numpy as np
import pytest
from event_files import draw_events
from hypothesis import given
from hypothesis import strategies as st

from stata_jax.data.events import to_frames
from stata_jax.data.readers import aedat2, aedat3, nmnist

EVENTS = draw_events(0, 40)
SMALL = EVENTS._replace(x=EVENTS.x % 34, y=EVENTS.y % 34)
FORMS = {
    "aedat2": (aedat2.decode, aedat2.encode(EVENTS), 128),
    "aedat3": (aedat3.decode, aedat3.encode(EVENTS, packet=16), 128),
    "nmnist": (nmnist.decode, nmnist.encode(SMALL), 34),
}


@pytest.mark.parametrize("form", FORMS)
@given(
    st.floats(0, 1),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4),
    st.sampled_from(["count", "duration"]),
)
def test_any_bytes_are_events_or_a_sentence(form, share, changes, by):
    decode, data, size = FORMS[form]
    damaged = bytearray(data[: round(share * len(data))])
    for place, value in changes:
        if damaged:
            damaged[int(place * len(damaged))] = value
    try:
        events, passed = decode(bytes(damaged), name="a.file")
        frames, _ = to_frames(events, timesteps=4, by=by, height=size, width=size, name="a.file")
    except ValueError as error:
        assert str(error).startswith("a.file ") and "\n" not in str(error)
        return
    assert frames.sum(dtype=np.int64) == events.t.size
    assert all(count >= 0 for count in passed.values())
