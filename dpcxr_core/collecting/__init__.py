"""What the runs of a study found, as tidy tables that may leave a hospital, and how several hospitals' become one."""
