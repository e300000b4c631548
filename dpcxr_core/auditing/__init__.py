"""Auditing room: attacks on trained models, and what they can say about a certificate."""
