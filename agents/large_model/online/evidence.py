"""Evidence on whether a new version of the model is at least as good as the published one.

Off-policy evaluation estimates the difference of the versions' rewards from sessions that neither has learnt from. In
the shadow test, the new version answers requests that people have sent.

The level of an interval is that of a single decision. While the decision is to wait, the next one tests a later version
in sessions that are partly the same, without a correction: a version that is worse than the margin is published in one
of k decisions with a probability of up to k times 2.5%.

Shape legend: K steps, S slots, M candidates.
"""

import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from agents.large_model.losses import feedback_loss
from agents.large_model.model import LargeModelNetwork
from agents.large_model.online.config import PublicationConfig, ServedPolicy
from agents.large_model.online.served_sessions import ServedPart, ServedSessions
from agents.large_model.rollout import Steps
from agents.large_model.serving.config import GREEDY
from agents.networks.item_content import ItemContent
from agents.networks.plackett_luce import best_slates, slate_log_probabilities
from agents.off_policy import OffPolicyLog, difference, weighted_per_decision
from agents.off_policy.estimate import Z_95, clustered_error, smallest_clustered_size

_NUM_PARTS = 64  # parts of sessions that are read together


def served_log_probabilities(policy: ServedPolicy, logits: torch.Tensor, steps: Steps) -> torch.Tensor:
    """[K] float64: log-probabilities of the slates of some steps, for a model with these logits [K, M]."""
    is_candidate = steps.candidates >= 0
    is_shown = steps.candidates.gather(1, steps.slates) >= 0  # [K, S]
    num_left = is_candidate.sum(1, keepdim=True) - torch.arange(is_shown.shape[1], device=logits.device)
    uniform = -num_left.clamp(min=1).double().log().where(is_shown, 0.0).sum(1)
    if policy.selection == GREEDY:
        best = best_slates(logits, is_shown.shape[1])
        is_best = ((best == steps.slates) | ~is_shown).all(1)
        chosen = torch.where(is_best, 0.0, -torch.inf).double()
    else:
        chosen = slate_log_probabilities(logits.double(), steps.slates).where(is_shown, 0.0).sum(1)
    parts = [np.log(max(share, 1e-300)) for share in (1.0 - policy.exploration, policy.exploration)]
    return torch.logaddexp(chosen + parts[0], uniform + parts[1])


@dataclass(frozen=True, kw_only=True)
class OffPolicyResult:
    """A new version beside the published one, in sessions that neither has learnt from."""

    num_sessions: int
    num_people: int = 0
    """Whose sessions these are; 0 in rounds from before they were counted."""
    effective_sample_size: float
    """In sessions, or in people where that is less."""
    published_reward: float
    """Estimated sum of rewards of a session with the published version."""
    difference: tuple[float, float, float]
    """Of these sums, new minus published: value, and 95% interval."""
    prediction: tuple[float, float, float]
    """Mean difference of the log-likelihood of an answer, in nats, new minus published, with its 95% interval."""

    def missing(self, config: PublicationConfig) -> list[str]:
        """What is not known well enough."""
        if self.effective_sample_size < config.min_effective_size:
            return [
                f"effective sample size {self.effective_sample_size:.0f} of {self.num_sessions} sessions of "
                f"{self.num_people} people, must be at least {config.min_effective_size:.0f}"
            ]
        if not self.difference[1] >= -self._margin(config):
            return [f"{self.summary}, whose interval is not above the margin of -{self._margin(config):.3f}"]
        return []

    def objections(self, config: PublicationConfig) -> list[str]:
        """What is worse."""
        found = []
        if self.effective_sample_size >= config.min_effective_size and self.difference[2] < -self._margin(config):
            found.append(f"{self.summary}, below the margin of -{self._margin(config):.3f}")
        value, low, high = self.prediction
        if not high >= 0.0:  # NaN included
            found.append(f"log-likelihood of an answer {value:+.4f} nats ({low:+.4f} to {high:+.4f})")
        return found

    @property
    def summary(self) -> str:
        """The difference of rewards in words."""
        value, low, high = self.difference
        return f"reward of a session {value:+.3f} ({low:+.3f} to {high:+.3f})"

    def _margin(self, config: PublicationConfig) -> float:
        return config.margin * abs(self.published_reward)


@torch.no_grad()
def off_policy_test(
    new: LargeModelNetwork,
    published: LargeModelNetwork,
    parts: Sequence[ServedPart],
    served: ServedSessions,
    content_of: Callable[[LargeModelNetwork], ItemContent],
    policy: ServedPolicy,
) -> OffPolicyResult:
    """Compare two versions in parts of sessions of at least two people; `content_of` makes the content that a network
    reads.

    The sums of rewards are estimated by weighted per-decision importance sampling, and their difference in the same
    sessions. People are independent, and not the parts of one person's sessions.
    """
    networks = {"new": new, "published": published}
    contents = {name: content_of(network) for name, network in networks.items()}
    columns = defaultdict(list)
    for first in range(0, len(parts), _NUM_PARTS):
        batch = parts[first : first + _NUM_PARTS]
        sessions, propensities = served.sessions(batch, published, contents["published"])
        steps = sessions.steps
        found = {
            "lengths": sessions.lengths,
            "rewards": steps.rewards,
            "behaviour": propensities[sessions.is_step],
        }
        for name, network in networks.items():
            scores = network(sessions, contents[name])
            found[name] = served_log_probabilities(policy, scores.logits, steps)
            clicks, rewards = (part.gather(1, steps.slates) for part in (scores.clicks, scores.rewards))
            found[f"{name} loss"] = feedback_loss(clicks, rewards, steps)
        for name, values in found.items():
            columns[name].append(values.cpu().numpy().astype(np.float64))
    rows = {name: np.concatenate(values) for name, values in columns.items()}
    lengths = rows["lengths"].astype(np.int64)
    firsts = np.cumsum(lengths) - lengths
    logs = {
        name: OffPolicyLog(
            sessions=np.repeat(np.arange(len(lengths)), lengths),
            steps=np.arange(lengths.sum()) - np.repeat(firsts, lengths),
            rewards=rows["rewards"],
            behaviour_log_probabilities=rows["behaviour"],
            evaluation_log_probabilities=rows[name],
        )
        for name in networks
    }
    people = np.unique([part.person for part in parts], return_inverse=True)[1]
    estimates = {name: weighted_per_decision(log) for name, log in logs.items()}
    gained = difference(estimates["new"], estimates["published"])
    sizes = [smallest_clustered_size(log, log.weights, people) for log in logs.values()]
    likelihood = np.add.reduceat(rows["published loss"] - rows["new loss"], firsts) / lengths
    return OffPolicyResult(
        num_sessions=len(lengths),
        num_people=int(people.max()) + 1,
        effective_sample_size=min(gained.effective_sample_size, *sizes),
        published_reward=estimates["published"].value,
        difference=_with_interval(gained.value, gained.contributions, people),
        prediction=_with_interval(float(likelihood.mean()), likelihood, people),
    )


def _with_interval(value: float, contributions: np.ndarray, people: np.ndarray) -> tuple[float, float, float]:
    """A value and its 95% interval, from the contributions [B] of parts of sessions of these `people` [B]."""
    half = Z_95 * clustered_error(contributions, people)
    return value, value - half, value + half


@dataclass(frozen=True, kw_only=True)
class ShadowResult:
    """How a new version answers requests, beside the published one."""

    num_requests: int
    num_failures: int
    """Answers with scores that are not finite."""
    agreement: float
    """Share of the requests for which both versions have the same best item."""
    slowdown: float
    """Ratio of the median times of an answer, new to published."""
    coverage: float
    """Ratio of the numbers of different items that come first, new to published."""

    def objections(self, config: PublicationConfig) -> list[str]:
        """What is worse than allowed."""
        found = []
        if self.num_failures:
            found.append(f"{self.num_failures} of {self.num_requests} answers have scores that are not finite")
        if self.slowdown > config.max_slowdown:
            found.append(f"answers take {self.slowdown:.2f} times as long, must be at most {config.max_slowdown:g}")
        if self.coverage < config.min_coverage:
            found.append(
                f"{self.coverage:.0%} as many different items come first, must be at least {config.min_coverage:.0%}"
            )
        return found


def shadow_test(
    new: Any, published: Any, simulator: Any, parts: Sequence[ServedPart], served: ServedSessions, num_requests: int
) -> ShadowResult:
    """Let two exports (`ExportedModel`) answer the newest requests of some parts of sessions, one after the other."""
    newest = (each for part in reversed(parts) for each in served.observations(part)[:-1])
    observations = list(itertools.islice(newest, num_requests))
    models = (new, published)
    tables = [model.catalog(simulator) for model in models]
    for model, table in zip(models, tables, strict=True):
        model.start(table, observations[0])  # the first call of each is slower
    seconds, best = np.empty((2, len(observations))), np.empty((2, len(observations)), np.int64)
    is_finite = np.ones(len(observations), np.bool_)
    for n, observation in enumerate(observations):
        for which in (0, 1) if n % 2 else (1, 0):  # neither is always the first to read an observation
            start = time.perf_counter()
            scores = models[which].start(tables[which], observation)[0].scores[0]
            seconds[which, n] = time.perf_counter() - start
            best[which, n] = observation["candidate_items"][0, scores.argmax()]
            if which == 0:
                is_finite[n] = np.isfinite(scores[observation["candidate_items"][0] >= 0]).all()
    medians, distinct = np.median(seconds, 1), [len(np.unique(each)) for each in best]
    return ShadowResult(
        num_requests=len(observations),
        num_failures=int((~is_finite).sum()),
        agreement=float((best[0] == best[1]).mean()),
        slowdown=float(medians[0] / medians[1]),
        coverage=distinct[0] / distinct[1],
    )
