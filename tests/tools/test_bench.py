"""The benchmark's ratios and its table, from numbers that are known."""

from stata_jax.tools.bench import as_markdown, compared
from stata_jax.tools.profiling import Timing

FACTS = {
    "1": {"mode": "train", "keep_rate": 1.0, "compile_s": 1.0, "flops": int(4e9), "temp_bytes": 1, "peak_bytes": 200},
    "0.2": {"mode": "train", "keep_rate": 0.2, "compile_s": 1.0, "flops": None, "temp_bytes": None, "peak_bytes": 50}
    | {"ac": 1.25e9, "mac": 2e6, "energy_mj": 1.234},
    "other": {
        "mode": "train",
        "peer": "other",
        "compile_s": None,
        "flops": None,
        "temp_bytes": None,
        "peak_bytes": 400,
        "torch": "2.6",
        "spikingjelly": "2.0",
        "threads": 2,
    },
}
TIMINGS = {"1": Timing((0.4, 0.4)), "0.2": Timing((0.2, 0.2)), "other": Timing((0.6, 0.6))}


def test_ratios_are_to_the_first_and_to_the_peers():
    rows = compared(FACTS, TIMINGS, batch_size=8, peers=["other"])
    assert [round(row["speed_up"], 3) for row in rows] == [1.0, 2.0, 0.667]
    assert [round(row["x_peer"]["other"], 3) for row in rows] == [1.5, 3.0, 1.0]
    assert [row["memory_share"] for row in rows] == [1.0, 0.25, None]
    assert [round(row["images_per_s"], 3) for row in rows] == [20.0, 40.0, 13.333]


def test_unknown_memory_has_no_share():
    facts = {"1": FACTS["1"] | {"peak_bytes": None}, "0.2": FACTS["0.2"]}
    assert [row["memory_share"] for row in compared(facts, TIMINGS, batch_size=8, peers=[])] == [None, None]


def test_table_names_the_peer_and_its_versions():
    result = {
        "model": "m",
        "batch_size": 8,
        "image_size": 32,
        "timesteps": 4,
        "dtype": "float32",
        "device": "cpu",
        "jax": "0.10",
        "rounds": 2,
        "in_a_row": 1,
        "peers": ["other"],
        "rows": compared(FACTS, TIMINGS, batch_size=8, peers=["other"]),
    }
    lines = as_markdown(result).splitlines()
    assert "jax 0.10, torch 2.6, spikingjelly 2.0, 2 torch threads" in lines[0]
    assert lines[0].endswith("median of 2 calls")
    assert lines[2].startswith("| | keep rate | step |") and lines[2].endswith(
        "| share | ACs an image | MACs | energy | x other |"
    )
    assert {line.count("|") for line in lines[2:]} == {15}
    assert lines[5].startswith("| train | 0.2 | 200 ± 0 ms | 40.0 | x2.00 |") and lines[5].endswith(
        "| 1250.0 M | 2.0 M | 1.23 mJ | x3.00 |"
    )
    assert lines[6].startswith("| train | other | 600 ± 0 ms | 13.3 | x0.67 | | ? | ? |")
