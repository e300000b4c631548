"""What a page must not tell."""
