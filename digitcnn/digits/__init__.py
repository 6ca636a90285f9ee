"""The images: where they come from, how they are read, changed and framed."""
