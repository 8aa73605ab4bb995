"""AEDAT 4, the container of iniVation's DV: told from other files, and not read.

Such a file begins with the line `#!AER-DAT4.0`, and has its events in compressed packets of FlatBuffers
(https://docs.inivation.com/software/software-advanced-usage/file-formats/aedat-4.0.html). None of the data sets here is
published so; such a copy has been converted by somebody.
"""

MAGIC = b"#!AER-DAT4"
SUFFIX = ".aedat4"


def refusal(name: str, *, writer: str) -> str:
    """What to say of such a file.

    Args:
      name: of the file.
      writer: the module of this package that writes the format in which the data set is published.
    """
    return (
        f"{name} is an AEDAT 4 file, of iniVation's DV, which is not read here: get the recording as it was published, "
        "or convert it in Python, where dv_processing.io.MonoCameraRecording reads the events and "
        f"stata_jax.data.{writer}.encode writes them"
    )
