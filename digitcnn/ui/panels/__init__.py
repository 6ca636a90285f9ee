"""The panels beside the pad: what else a network reveals about a sketch, while it is drawn."""
