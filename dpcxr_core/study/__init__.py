"""One study: its places and runs, what the runs amount to, and the answers of its chapters."""
