"""Evaluation: a scores table in, a metrics table out, with intervals by patient. No torch here."""
