"""Spiking neurons as pure functions on arrays."""
