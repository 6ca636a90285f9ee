"""Analyses of a network's predictions."""
