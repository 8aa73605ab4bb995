"""Training: what a run does, writes and shows, step by step."""
