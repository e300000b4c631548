"""Picture files: what is really in them, and the recipes that turn a picture into a stored image."""
