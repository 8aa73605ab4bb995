"""Spiking vision transformers: one file per family on shared layers and one encoder loop."""
