"""What a network's predictions say."""
