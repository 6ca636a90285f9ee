"""What the network is, and how it is kept in a file."""
