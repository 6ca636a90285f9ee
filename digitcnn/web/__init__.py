"""Templates, styles and scripts of the page, the report and the exported offline page."""
