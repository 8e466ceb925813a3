"""The folder of the committed results."""

from pathlib import Path

COMMITTED = Path(__file__).parent / "results"
