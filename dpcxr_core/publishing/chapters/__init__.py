"""Tables, sentences and figures of single chapters."""
