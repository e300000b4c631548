"""A trained model as it is given away: weights, certificate and model card."""
