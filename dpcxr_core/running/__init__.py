"""Does the jobs of a study: in a loop, by Snakemake on cores or a cluster, or within one process."""
