"""What a network's answers say."""
