"""Charts that answer the reader, in JupyterLab and in the page."""
