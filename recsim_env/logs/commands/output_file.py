"""The file that a command writes."""

from pathlib import Path

from recsim_env.atomic_file import check_writable, printable


def check_output_file(out: Path, suffix: str) -> None:
    """Reject a path that cannot be written before the work starts; the suffix protects logs from being overwritten."""
    if out.suffix != suffix:
        raise ValueError(f"--out={printable(out)}: its name must end in {suffix}")
    check_writable(out)
