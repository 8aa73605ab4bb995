"""All that exists for speed or memory, each behind the signature of its plain twin in `stata_jax.ops`."""
