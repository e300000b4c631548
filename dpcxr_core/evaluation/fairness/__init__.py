"""What a gap between groups may come from, and how large chance alone makes it."""
