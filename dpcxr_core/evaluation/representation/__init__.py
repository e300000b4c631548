"""What training does to the embedding of an image."""
