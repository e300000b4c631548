"""Resamples of patients, and the intervals they give."""
