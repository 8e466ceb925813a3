"""A training from its beginning or from its last checkpoint to its end, with files and evaluations on the way."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents.large_model.checkpoint import load_latest, save_checkpoint
from agents.large_model.distributed import Processes
from agents.large_model.metrics_log import MetricsLog
from agents.large_model.training import Progress, Training
from agents.large_model.validation import Validation

CHECKPOINTS = "checkpoints"


@dataclass(kw_only=True)
class TrainingRun:
    """What a run does besides learning."""

    folder: Path
    checkpoint_minutes: float = 5.0
    """Between two checkpoints; there is one at the end, too."""
    evaluation_steps: int = 0
    """User-steps between two evaluations on held-out users and catalogues; 0 for none but at the end."""
    num_evaluation_sessions: int = 200
    has_tensorboard: bool = False
    tell: Callable[[str], None] = field(default=lambda words: None)
    """Takes what a user should know, in one line."""
    show: Callable[[Progress], None] = field(default=lambda progress: None)
    """Takes how it goes, after each iteration."""

    def run(self, training: Training, processes: Processes) -> dict[str, Any]:
        """Train to the end; returns what the last evaluation says, nothing if it had ended before.

        Raises:
            CheckpointError: the folder has checkpoints of another training, or none that can be used.
        """
        checkpoints = self.folder / CHECKPOINTS
        load_latest(checkpoints, self.tell, training.restore, has_optimizer=True)
        if training.num_steps > 0:
            self.tell(f"going on from {training.num_steps:,} steps")
        log = MetricsLog(self.folder, training.num_steps, self.has_tensorboard) if processes.is_first else None
        validation = Validation(training, self.num_evaluation_sessions)
        saved = time.monotonic()
        last: dict[str, Any] = {}
        while not training.is_over:
            before = training.num_steps
            progress = training.iterate()
            line = progress.line
            if training.is_over or self._is_passed(before, training.num_steps):
                last = validation.evaluate()
                line = {**line, **last}
            if log:
                log.add(line)
                self.show(Progress(num_steps=progress.num_steps, line=line))
            is_due = training.processes.any(time.monotonic() - saved > 60.0 * self.checkpoint_minutes)
            if is_due or training.is_over:
                content = training.checkpoint()
                if processes.is_first:
                    save_checkpoint(checkpoints, content)
                saved = time.monotonic()
        if log:
            log.close()
        return last

    def _is_passed(self, before: int, after: int) -> bool:
        """Whether an evaluation is due: at multiples of its steps, wherever a run was begun again."""
        every = self.evaluation_steps
        return every > 0 and after // every > before // every
