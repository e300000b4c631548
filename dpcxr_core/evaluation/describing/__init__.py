"""Who is in the images, before anything is scored."""
