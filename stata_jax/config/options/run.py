"""The run as a whole."""

from stata_jax.config.option import Option, Resume
from stata_jax.config.rules import FOLDER, SEED, text

OPTIONS = {
    "name": Option(
        "common",
        text(
            "must be a folder name of letters, digits, '.', '_' and '-' that starts with a letter or a digit",
            r"[A-Za-z0-9][A-Za-z0-9._-]*",
        ),
        "Names the run folder, runs/NAME.",
        Resume.FREE,
    ),
    "seed": Option(0, SEED, "Every random number of a run follows from this one."),
    "init_from": Option(
        "", FOLDER, "Folder of a run whose weights to start from; empty: none. A converted checkpoint does as well."
    ),
}
