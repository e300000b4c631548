"""What is in the stores: counts, leaks, patients with many images, pictures to look at."""
