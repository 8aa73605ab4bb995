"""The mathematics of spiking transformers as pure functions, one idea a file, without a word of hardware.

`stata_jax.ops.operations` lists those of them that `stata_jax.kernels` may replace by faster ones.
"""
