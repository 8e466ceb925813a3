"""Agents that recommend: baselines, oracles and learners behind one protocol (`agents.agent`)."""
