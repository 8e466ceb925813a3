"""Learners from logs that protect the people in them: differential privacy, deletion, and an audit of both."""
