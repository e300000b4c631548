"""Simulated hospitals: patients, labels and radiographs whose truth is known."""
