"""Analysis: operation counts and pictures of a trained or planned model."""
