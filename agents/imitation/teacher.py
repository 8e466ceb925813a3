"""Teachers, which score candidates with the latent state known, and the loss of a network that learns their scores.

Shape legend: N sessions, M candidates, K steps.
"""

from collections.abc import Callable
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np
import torch

from agents.references.lookahead import LookaheadOracle, click_probabilities, lookahead_scores
from agents.references.value_weights import ValueWeights
from agents.rollouts.evaluation import evaluate

_LEAST_CLICKS = 1e-9
_LEAST_SCALE = 1e-3
_NUM_TRIAL_SESSIONS = 60
_LEAST_GAINS = {(0.0, 0.0): 0.0, (4.0, 2.0): 0.0, (8.0, 0.5): 0.1}
"""By trust and patience, in this order: value weights that are tried, and by what share they must earn more."""


class TeacherLabels(NamedTuple):
    """What a teacher says about the present candidates of an env's sessions."""

    scores: np.ndarray
    """[N, M]: in units of reward; of a network, the logits of its policy."""
    clicks: np.ndarray
    """[N, M]: probability of a click, if shown alone."""
    rewards: np.ndarray
    """[N, M]: mean reward of a click."""


Teacher = Callable[[], TeacherLabels]
"""Called before each step."""


def teacher_weights(env: Any) -> ValueWeights:
    """Value weights of a teacher for the world of a vector env with `"compact"` observations.

    All are 1, unless the oracle certainly earns more with others in the same sessions: by over two standard errors, and
    with the largest by over a tenth. The best of many weights would be chosen by luck, worlds that look alike would
    have unlike teachers, and a student learns less from large weights, with which scores depend on latent state that
    it cannot infer (docs/experiments.md).
    """
    with closing(env.remake(num_envs=_NUM_TRIAL_SESSIONS)) as trial:
        chosen = _weights(1.0, 1.0)
        returns = evaluate(LookaheadOracle(trial, value_weights=chosen), trial, 0).returns
        for (trust, patience), least_gain in _LEAST_GAINS.items():
            others = _weights(trust, patience)
            of_others = evaluate(LookaheadOracle(trial, value_weights=others), trial, 0).returns
            gains = of_others - returns
            if gains.mean() - 2.0 * gains.std(ddof=1) / len(gains) ** 0.5 > least_gain * abs(returns.mean()):
                chosen, returns = others, of_others
    return chosen


def _weights(trust: float, patience: float) -> ValueWeights:
    return ValueWeights(trust=trust, patience=patience, budget=1.0, following=1.0)


def lookahead_teacher(env: Any, value_weights: ValueWeights) -> Teacher:
    """The lookahead oracle with these value weights, which reads the latent state of a vector env's sessions."""
    weights, myopic = (np.tile(each.as_array(), (env.num_envs, 1)) for each in (value_weights, ValueWeights()))

    def labels() -> TeacherLabels:
        clicks = click_probabilities(env.simulator)
        rewards = lookahead_scores(env.simulator, myopic) / np.maximum(clicks, _LEAST_CLICKS)
        return TeacherLabels(lookahead_scores(env.simulator, weights), clicks, rewards)

    return labels


def teacher_loss(scores: torch.Tensor, teacher: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """[K]: squared error of scores [K, M] against a teacher's, both minus their mean over the candidates.

    Its minimum is the teacher's mean score given the state: that of an agent with the teacher's model of users, but
    without the teacher's knowledge of this user.
    """
    number = mask.sum(1, keepdim=True).clamp(min=1)
    difference = (scores - teacher).masked_fill(~mask, 0.0)
    centred = (difference - difference.sum(1, keepdim=True) / number).masked_fill(~mask, 0.0)
    return centred.square().sum(1) / number[:, 0]


def spread(scores: torch.Tensor, mask: torch.Tensor) -> float:
    """Standard deviation of a teacher's scores [K, M] among the candidates of a step, to express errors in."""
    return max(float(teacher_loss(torch.zeros_like(scores), scores, mask).mean().sqrt()), _LEAST_SCALE)
