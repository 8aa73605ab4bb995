"""The run as a whole."""

from stata_jax.config.option import FIXED, FREE, Option
from stata_jax.config.rules import FOLDER, NAME, SEED

# fmt: off
OPTIONS = {
    "name": Option("common", NAME, FREE,
        "Names the run folder, runs/NAME."),
    "seed": Option(0, SEED, FIXED,
        "Every random number of a run follows from this one."),
    "init_from": Option("", FOLDER, FIXED,
        "Folder of a run whose weights to start from; empty: none. A converted checkpoint does as well."),
}
