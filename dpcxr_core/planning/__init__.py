"""From a study file to cells and jobs, without looking at any image."""
