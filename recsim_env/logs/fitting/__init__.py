"""Worlds fitted to ratings logs, and how well they reproduce them."""
