"""Experiments: a question, the trainings that answer it, and what their outcome shows."""
