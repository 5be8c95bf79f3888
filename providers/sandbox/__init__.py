"""Plays the providers' side for tests, the demo and the bench: makes keys, signs webhooks, and serves their APIs."""
