"""How realistic a scenario's behaviour is: measured rates beside published ones.

    python -m recsim_env.fidelity News

Rates of real platforms are of what their own ranking shows, so these are measured under the platform's ranking of the
env (`candidate_order="relevance"`): the first candidate, or the first five as a slate. Position decay is measured with
random slates, so that relevance does not mix with position.

Shape legend: N sessions, T steps, S slots of a slate.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from recsim_env.config import check_number
from recsim_env.envs.vector import RecommenderVectorEnv
from recsim_env.logs.fitting.log_comparison import gini, jensen_shannon
from recsim_env.scenarios import SCENARIOS, scenario_named
from recsim_env.simulation.records import HISTORY_FEEDBACK

_SLATE_SIZE = 5
_CLICK, _RATING, _PURCHASE = (HISTORY_FEEDBACK.index(name) for name in ("click", "rating", "purchase"))


class Target(NamedTuple):
    """A published range of a measure."""

    low: float
    high: float
    source: str


_EXAMINATION = Target(
    *(0.1, 0.6),
    "click rate at rank 5 over rank 1 at equal relevance: 1/5 to 1/sqrt(5), with some tolerance, in position-based "
    "models (Joachims, Swaminathan and Schnabel, WSDM 2017); decay: Craswell et al., WSDM 2008",
)
_OTTO = "OTTO sessions (2022), events of test sessions: median 4, 75% 8, 95% 28"
_GINI = Target(0.4, 0.95, "popularity is unequal everywhere: MovieLens-100K 0.63 (ratings of items)")
_HISTOGRAM = (0.061, 0.114, 0.272, 0.342, 0.212)
"""Shares of the ratings 1 to 5 in MovieLens-100K."""

_COMMON = {
    "position_decay": _EXAMINATION,
    "multi_click_share": Target(
        0.05, 0.6, "several clicks on a page are common: dependent click model, Guo et al. 2009"
    ),
    "popularity_gini": _GINI,
}

TARGETS: dict[str, dict[str, Target]] = {
    "News": {
        "click_rate": Target(0.03, 0.10, "about 4% of the items shown in MIND (Wu et al., ACL 2020)"),
        "median_session_length": Target(1, 10, "news sessions are often a few clicks"),
        "length_tail": Target(2.5, 30, f"95% quantile over median, heavy-tailed: {_OTTO}"),
        **_COMMON,
    },
    "Ecommerce": {
        "purchases_per_item_shown": Target(0.005, 0.05, "low single per cents of looks"),
        "purchases_per_click": Target(0.008, 0.25, "RetailRocket: 22,457 purchases of 2,664,312 views; OTTO: 2.6%"),
        "median_session_length": Target(1, 10, _OTTO),
        "length_tail": Target(2.5, 30, f"95% quantile over median: {_OTTO}"),
        **_COMMON,
    },
    "Video": {
        "click_rate": Target(
            *(0.02, 0.25),
            "2% to 10% of impressions on half of YouTube's channels (YouTube Help, 2024); more in short-video feeds",
        ),
        "length_tail": Target(1.5, 30, "heavy-tailed"),
        **_COMMON,
    },
    "Social": {
        "click_rate": Target(0.01, 0.20, "feeds: a few per cent of posts are engaged with"),
        "length_tail": Target(1.5, 30, "heavy-tailed"),
        **_COMMON,
    },
    "Music": {
        "play_rate": Target(
            *(0.25, 0.70),
            "48% of tracks are not skipped in Spotify's skip prediction data (Brost, Mehrotra and Jehan, WWW 2019)",
        ),
        "repeat_rate": Target(
            0.05, 0.80, "most plays are repeats in listening histories (Last.fm); lower in one session"
        ),
        "length_tail": Target(1.5, 30, "heavy-tailed"),
        "popularity_gini": _GINI,
    },
    "MovieLens": {"rating_divergence": Target(0.0, 0.1, "Jensen-Shannon divergence from MovieLens-100K, bits")},
    "Ratings": {"rating_divergence": Target(0.0, 0.1, "Jensen-Shannon divergence from MovieLens-100K, bits")},
}
"""By scenario and measure; see `measure`."""


class _Log(NamedTuple):
    lengths: np.ndarray
    """[N] steps of each session."""
    items: np.ndarray
    """[T, N, S] ids of the shown items, -1 where none is shown."""
    clicks: np.ndarray
    """[T, N, S] bool."""
    purchases: np.ndarray
    """[T, N, S] bool."""
    ratings: np.ndarray
    """[T, N, S], 0 where none was submitted."""


def _play(scenario: str, num_sessions: int, seed: int, slate_size: int, is_random: bool = False) -> _Log:
    """Sessions under the platform's ranking, or with random slates of candidates in random order."""
    session_length = scenario_named(scenario).session.session_length
    order = "random" if is_random else "relevance"
    envs = RecommenderVectorEnv(
        num_sessions,
        scenario,
        slate_size=slate_size,
        candidate_order=order,
        history_length=slate_size,
        split="validation",
        autoreset_mode="Disabled",
    )
    envs.reset(seed=seed)
    sessions, is_running = envs.simulator.sessions, np.ones(num_sessions, np.bool_)
    slates, lengths = np.tile(np.arange(slate_size), (num_sessions, 1)), np.zeros(num_sessions, np.int64)
    rows: list[list[np.ndarray]] = []
    for _ in range(session_length):
        shown = np.array(sessions["candidates"][:, :slate_size])
        shown[~is_running] = -1
        first_row = np.array(sessions["num_shown"])
        _, _, terminated, truncated, _ = envs.step(slates if slate_size > 1 else slates[:, 0])
        exists = shown >= 0
        slot_rows = (first_row[:, None] + np.cumsum(exists, 1) - 1) % slate_size
        feedback = np.take_along_axis(np.array(sessions["history_feedback"]), slot_rows[:, :, None], 1)
        feedback = np.where(exists[:, :, None], feedback, 0.0)
        rows.append([shown, feedback[..., _CLICK] > 0.0, feedback[..., _PURCHASE] > 0.0, feedback[..., _RATING]])
        lengths += is_running
        is_running = is_running & ~(terminated | truncated)
        if not is_running.any():
            break
    items, clicks, purchases, ratings = (np.stack(parts) for parts in zip(*rows, strict=True))
    envs.close()
    return _Log(lengths=lengths, items=items, clicks=clicks, purchases=purchases, ratings=ratings)


def measure(scenario: str, num_sessions: int = 2_000, seed: int = 0) -> dict[str, float]:
    """The measures of `TARGETS` for a scenario.

    * `click_rate`: clicks of the items shown in slates of five; `play_rate`: the same, one item at a time.
    * `position_decay`: click rate in the fifth slot over that in the first, random slates.
    * `multi_click_share`: slates with several clicks, of those with any.
    * `purchases_per_item_shown`, `purchases_per_click`: in slates of five.
    * `median_session_length`, in steps of one item, and `length_tail`, its 95% quantile over the median.
    * `popularity_gini`: inequality of the clicks of items, 0 to 1.
    * `repeat_rate`: plays of an item that the user has played in the session before.
    * `rating_divergence`: Jensen-Shannon divergence of the submitted ratings from those of MovieLens-100K, bits.
    """
    single = _play(scenario, num_sessions, seed, 1)
    slates = _play(scenario, num_sessions, seed, _SLATE_SIZE)
    by_chance = _play(scenario, num_sessions, seed, _SLATE_SIZE, is_random=True)
    num_shown, num_clicks = (slates.items >= 0).sum(), max(slates.clicks.sum(), 1)
    clicks_by_slot = by_chance.clicks.sum((0, 1)) / np.maximum((by_chance.items >= 0).sum((0, 1)), 1)
    clicks_of_slates = slates.clicks.sum(2)
    median, last = np.quantile(single.lengths, (0.5, 0.95))
    counts = np.bincount(slates.items[slates.clicks], minlength=1)
    histogram = np.bincount(np.rint(single.ratings[single.ratings > 0]).astype(int), minlength=6)[1:6]
    return {
        "click_rate": float(slates.clicks.sum() / num_shown),
        "play_rate": float(single.clicks.sum() / (single.items >= 0).sum()),
        "position_decay": float(clicks_by_slot[-1] / max(clicks_by_slot[0], 1e-12)),
        "multi_click_share": float((clicks_of_slates > 1).sum() / max((clicks_of_slates > 0).sum(), 1)),
        "purchases_per_item_shown": float(slates.purchases.sum() / num_shown),
        "purchases_per_click": float(slates.purchases.sum() / num_clicks),
        "median_session_length": float(median),
        "length_tail": float(last / median),
        "popularity_gini": gini(counts[counts > 0]) if counts.any() else 0.0,
        "repeat_rate": _repeat_rate(single),
        "rating_divergence": jensen_shannon(histogram / max(histogram.sum(), 1), np.array(_HISTOGRAM)),
    }


def _repeat_rate(log: _Log) -> float:
    num_repeats, num_plays = 0, 0
    for n in range(log.items.shape[1]):
        played = log.items[:, n][log.clicks[:, n]]
        num_plays += len(played)
        num_repeats += len(played) - len(np.unique(played))
    return num_repeats / max(num_plays, 1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print measured values beside their targets; returns 1 if one is outside its range, 2 for invalid input."""
    parser = argparse.ArgumentParser(
        prog="python -m recsim_env.fidelity",
        description="Measure the behaviour of simulated users under the platform's ranking, beside published figures. "
        "The exit code is 1 if a measure is outside its range.",
    )
    parser.add_argument("scenario", metavar="SCENARIO", help=f"one of {', '.join(SCENARIOS)}")
    parser.add_argument("--sessions", type=int, default=2_000, metavar="N", help="sessions of each kind (default 2000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sessions (default 0)")
    parsed = parser.parse_args(arguments)
    try:
        check_number("--sessions", parsed.sessions, 1, 1_000_000, int)
        check_number("--seed", parsed.seed, 0, 2**62, int)
        if parsed.scenario not in TARGETS:
            scenario_named(parsed.scenario)
            raise ValueError(f"scenario={parsed.scenario!r}: must be one of {', '.join(TARGETS)}")
        measured = measure(parsed.scenario, parsed.sessions, parsed.seed)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    is_inside = True
    print(f"{'measure':<26}{'measured':>10}{'target':>16}       source")
    for name, target in TARGETS[parsed.scenario].items():
        is_met = target.low <= measured[name] <= target.high
        is_inside = is_inside and is_met
        span = f"{target.low:g} to {target.high:g}"
        print(f"{name:<26}{measured[name]:>10.3f}{span:>16}  {'ok ' if is_met else 'OFF'}  {target.source}")
    return 0 if is_inside else 1


if __name__ == "__main__":
    sys.exit(main())
