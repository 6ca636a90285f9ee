"""Training and fine-tuning: configuration, loop, runs and background jobs."""
