"""Digit sets: where they come from, and how images are read, augmented and framed."""
