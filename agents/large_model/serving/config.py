"""Settings of a server."""

from dataclasses import dataclass

from recsim_env.config import Checked, choice, count, number

MAX_ITEMS = 20
"""The longest slate that may be asked for."""

GREEDY, SOFTMAX = "greedy", "softmax"


@dataclass(frozen=True, kw_only=True)
class ServingConfig(Checked):
    """How a server recommends, and how much it takes on."""

    selection: str = choice(GREEDY, GREEDY, SOFTMAX)
    """Slates of the large model: its best slate, or a draw of its policy."""
    exploration: float = number(0.05, 0.0, 1.0)
    """Probability of a random slate instead, of which all are equally likely."""
    seed: int = count(0, 0, 2**31 - 1)
    """Seeds the slates that are drawn."""
    versions_poll_seconds: float = number(1.0, 0.01, 3_600.0)
    """Seconds between two looks at which version of the model is published."""
    max_candidates: int = count(10_000, 1, 1_000_000)
    """Candidates of a recommendation; of more available items, those with the highest predicted answers are ranked."""
    max_sessions: int = count(100_000, 1, 10**9)
    """Sessions in the database."""
    max_sessions_of_person: int = count(100, 1, 10**9)
    """Sessions of one person in the database."""
    max_session_length: int = count(1_000, 1, 10**9)
    """Recommendations of one session."""
    max_cached_sessions: int = count(10_000, 1, 10**7)
    """Sessions in memory; others are read again when they continue."""
    max_cached_mib: int = count(512, 1, 10**6)
    """MiB of what the model has read of sessions in memory."""
    max_simulated_visits: int = count(100, 1, 10_000)
    """Visits of simulated users in memory; of more, the oldest are forgotten."""
    max_body: int = count(1_000_000, 100, 10**9)
    """Bytes of the body of a request."""
    requests_per_second: int = count(100, 1, 10**6)
    """Requests from one address, on average over a few seconds."""
