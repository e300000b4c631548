"""Writing image stores: in parallel, resumable, in parts, verified."""
