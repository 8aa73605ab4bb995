"""Readers of file formats: bytes and archives to arrays."""
