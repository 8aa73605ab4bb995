"""The data sets that a config can name, one file each: from its options to a `stata_jax.data.protocol.Source`."""
