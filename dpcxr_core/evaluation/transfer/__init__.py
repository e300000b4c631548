"""From one hospital to another: thresholds, shifts and conflicts of labels."""
