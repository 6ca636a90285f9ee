"""One module per command, whose ``run`` executes it; ``arguments`` has the parsers of all."""
