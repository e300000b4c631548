"""Gradients of other engines beside ours: where they go wrong and what follows. No run of the study uses them."""
