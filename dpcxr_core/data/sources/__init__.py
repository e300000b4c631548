"""One module a data set: from its official files to the cohort table."""
