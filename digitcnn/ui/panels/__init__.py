"""The panels below the pad: what else a network can say of the drawing, at drawing speed."""
