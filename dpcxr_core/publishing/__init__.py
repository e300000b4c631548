"""dpcxr_core."""
