"""All that exists for speed or memory, each piece behind the signature of its plain twin in `stata_jax.ops`.

Without this package all results are the same, only slower. README.md says of each file what it replaces, what it gains,
its hazards, how to turn it off, and its test. Importing the package alone does not import JAX.
"""
