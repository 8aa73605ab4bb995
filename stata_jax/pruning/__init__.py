"""Token sparsification: which tokens are ranked, kept and gathered, and in which blocks."""
