"""A network as the teacher of a smaller one: its policy, predictions and values in the states of recorded sessions.

Rusu et al., "Policy distillation", ICLR 2016, with the softmax at the teacher's own temperature (Hinton, Vinyals and
Dean, "Distilling the knowledge in a neural network", 2015). The teacher reads what the student reads, nothing
privileged.

Shape legend: B sessions, T steps, M candidates.
"""

from dataclasses import replace

import torch

from agents.large_model.checkpoint import load_network
from agents.large_model.config import TrainingConfig
from agents.large_model.model import LargeModelNetwork
from agents.large_model.rollout import Sessions, scores_of_sessions
from agents.networks.item_content import ItemContent

_NUM_AT_ONCE = 16
"""Sessions that the teacher reads in one pass."""


def load_teacher(config: TrainingConfig, student: LargeModelNetwork) -> LargeModelNetwork:
    """The network `config.teacher_model`, on the student's device.

    Raises:
        ValueError: there is none, or it reads other inputs than the student; one line.
    """
    name = f"teacher_model={config.teacher_model!r}"
    try:
        teacher = load_network(config.teacher_model, str(student.device))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    if hasattr(teacher.backbone, "describe") or hasattr(student.backbone, "describe"):
        raise ValueError(f"{name}: must be without a language model, and so must be the student")
    own, others = ((each.schema, each.config.num_word_buckets) for each in (student, teacher))
    if own != others:
        raise ValueError(
            f"{name}: reads other inputs than the student; must have been trained in the same scenarios, or both be "
            "generalists"
        )
    return teacher


@torch.no_grad()
def labelled(sessions: Sessions, content: ItemContent, teacher: LargeModelNetwork) -> Sessions:
    """The same sessions with what the teacher says in each state."""
    labels = torch.zeros(*sessions.candidates.shape, 3, device=sessions.rewards.device)
    values = torch.zeros_like(sessions.rewards)
    for places, _, scores in scores_of_sessions(teacher, sessions, content, _NUM_AT_ONCE):
        labels[places] = torch.stack([scores.logits, scores.clicks.sigmoid(), scores.rewards], 2)
        values[places] = teacher.value_head.mean(scores.values)
    return replace(sessions, teacher=labels, teacher_values=values)
