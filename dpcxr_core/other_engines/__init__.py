"""Gradients of other engines beside ours: what they get wrong, and what follows from it. Nothing trains on them."""
