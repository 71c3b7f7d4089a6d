"""Recipes on top of the client: locks, elections, membership, queues. Nothing here yet; they come with claims."""
