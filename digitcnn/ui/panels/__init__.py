"""The panels below the pad: what else a network reveals about a sketch, while it is drawn."""
