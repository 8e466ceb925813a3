"""Logs of simulated sessions: written, read back, replayed and exported."""
