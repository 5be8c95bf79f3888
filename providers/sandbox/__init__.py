"""Plays the providers' side: makes keys and signs webhooks as they would, for tests, the demo and scripts outside."""
