DRAWS_ARE_FLOAT32 = 1e-6  # a dozen times the rounding of an AUROC to float32, and of a difference of two
