"""A run's best architectures and its seed points retrained with fresh seeds, compared pair by pair."""
