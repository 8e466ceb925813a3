"""The file that a command writes."""

import os
from pathlib import Path


def check_writable(out: Path, suffix: str) -> None:
    """Reject a path that cannot be written before the work starts; the suffix protects logs from being overwritten."""
    if "\0" in str(out):
        raise ValueError(f"--out={str(out)!r}: must not contain a null character")
    if out.suffix != suffix or out.is_dir():
        raise ValueError(f"{out}: must be a file, and its name must end in {suffix}")
    if not os.access(out.parent, os.W_OK):
        raise ValueError(f"{out}: cannot be written, {out.parent} is not a folder with write permission")
