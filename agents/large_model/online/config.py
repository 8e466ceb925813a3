"""Settings of online learning, and of the loop that learns beside a server. Works without torch."""

from dataclasses import dataclass

from agents.large_model.serving.config import GREEDY, SOFTMAX
from recsim_env.config import Checked, choice, count, number


@dataclass(frozen=True, kw_only=True)
class OnlineConfig(Checked):
    """Speed and limits of online learning."""

    learning_rate: float = number(3e-4, 0.0, 1.0)
    """Of AdamW."""
    num_epochs: int = count(2, 1, 100)
    """Passes over a round's sessions."""
    batch_sessions: int = count(32, 1, 1_000_000)
    """Sessions of a gradient step."""
    replayed_rounds: int = count(4, 0, 1_000)
    """Earlier rounds whose feedback is replayed, with as many sessions as the present round has."""
    anchor: float = number(0.3, 0.0, 1e3)
    """Weight of the divergence from the deployed policy, in nats."""
    max_divergence: float = number(0.3, 0.0, 100.0)
    """Mean divergence from the deployed policy, in nats, above which a round is reverted."""
    deploy_every: int = count(4, 1, 1_000_000)
    """Rounds between deployments."""
    feedback: float = number(0.5, 0.0, 1e3)
    """Weight of the supervised loss."""
    value: float = number(0.1, 0.0, 1e3)
    """Weight of the value loss."""
    entropy: float = number(0.01, 0.0, 1e3)
    """Weight of the entropy bonus."""
    clip_range: float = number(0.1, 0.01, 10.0)
    """PPO's limit on the ratio of a slot's new and old probability."""
    gamma: float = number(0.99, 0.0, 1.0)
    """Discount of a step."""
    gae_lambda: float = number(0.95, 0.0, 1.0)
    """Lambda of the lambda-returns and advantages."""


@dataclass(frozen=True, kw_only=True)
class ServiceConfig(Checked):
    """When a round takes place."""

    min_sessions: int = count(96, 2, 1_000_000)
    """Completed sessions that a round waits for, without those of people who are held out."""
    max_sessions: int = count(512, 2, 1_000_000)
    """Sessions of a round, the newest; they are in memory together with those that are replayed."""
    idle_minutes: float = number(30.0, 0.0, 100_000.0)
    """Minutes without feedback after which a session is complete. If it continues later, it is learnt from again as a
    whole."""
    seed: int = count(0, 0, 2**31 - 1)
    """Seeds the order of sessions, and who is held out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.min_sessions > self.max_sessions:
            raise ValueError(f"min_sessions={self.min_sessions}: must be at most max_sessions={self.max_sessions}")


@dataclass(frozen=True, kw_only=True)
class ServedPolicy(Checked):
    """How a server shows what a model recommends (`ServingConfig`)."""

    selection: str = choice(GREEDY, GREEDY, SOFTMAX)
    """The best slate, or a slate drawn from the model's policy."""
    exploration: float = number(0.05, 0.0, 1.0)
    """Probability of a random slate instead."""


@dataclass(frozen=True, kw_only=True)
class PublicationConfig(Checked):
    """What a new version must show before it is published."""

    held_out: float = number(0.25, 0.01, 0.99)
    """Share of the people whose sessions are for evaluation alone."""
    days: float = number(7.0, 0.0, 100_000.0)
    """Maximum age of their sessions that are evaluated."""
    evaluated_sessions: int = count(2_000, 2, 1_000_000)
    """Maximum number of their sessions that are evaluated, the newest."""
    margin: float = number(0.05, 0.0, 1.0)
    """Share of the published version's reward by which the new one may be worse: the 95% interval of the difference
    must be above minus that share of it (a test of non-inferiority). The level is that of a single decision: where
    earlier ones were to wait, it is not corrected for them."""
    min_effective_size: float = number(100.0, 2.0, 1e9)
    """Smallest effective sample size for a decision, in sessions and in people."""
    shadow_requests: int = count(200, 1, 100_000)
    """Requests of the shadow test, the newest."""
    max_slowdown: float = number(1.5, 1.0, 100.0)
    """Largest allowed ratio of the median times of an answer, new to published."""
    min_coverage: float = number(0.5, 0.0, 1.0)
    """Smallest allowed ratio of the numbers of different items that come first, new to published."""
