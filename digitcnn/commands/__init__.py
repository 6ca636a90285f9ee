"""One module per command; each has ``add``, which adds its parser."""
