"""What a training says of itself: a line of JSON for each iteration, and TensorBoard events if they are wanted."""

import json
import math
from pathlib import Path
from typing import Any

from recsim_env.atomic_file import write_atomically


class MetricsLog:
    """Lines of `metrics.jsonl` in a folder; after a restart it goes on behind the checkpoint's line.

    Args:
        folder: exists already.
        num_steps: of the checkpoint that the training goes on from; later lines are dropped, as they will come again.
        has_tensorboard: whether event files are written, too.
    """

    def __init__(self, folder: Path, num_steps: int, has_tensorboard: bool = False) -> None:
        self.path = folder / "metrics.jsonl"
        kept = [line for line in read_metrics(self.path) if line["num_steps"] <= num_steps]
        write_atomically(self.path, "".join(json.dumps(line) + "\n" for line in kept).encode())
        self._file = self.path.open("a", encoding="utf-8")
        self._events: Any = None
        if has_tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise ValueError("--tensorboard: needs the package tensorboard (pip install tensorboard)") from None
            self._events = SummaryWriter(str(folder / "tensorboard"), purge_step=num_steps + 1)

    def add(self, line: dict[str, Any]) -> None:
        """Write a line; `num_steps` is in it."""
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        if self._events:
            for name, value in line.items():
                if isinstance(value, int | float) and math.isfinite(value):
                    self._events.add_scalar(name, value, line["num_steps"])
            self._events.flush()

    def close(self) -> None:
        """Nothing more is written."""
        self._file.close()
        if self._events:
            self._events.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a file that hold `num_steps`, without those that were cut off; empty if there is no file."""
    if not path.exists():
        return []
    lines = []
    for text in path.read_bytes().splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and isinstance(line.get("num_steps"), int):
            lines.append(line)
    return lines
