"""Runs, groups and levels beside each other: differences, gaps and tests."""
