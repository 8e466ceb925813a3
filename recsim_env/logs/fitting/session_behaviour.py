"""Behaviour that a log of shown items tells, as coefficients of the user model in place of a preset's.

Clicks by position give examination and choice, lengths of sessions give patience, absences give the hazard of return,
repeated clicks whether items are offered again, and clicks after clicks in a topic give satiation. What the log does
not tell stays as the preset has it: `ASSUMED`.

Shape legend: R rows (shown items), S slots of a slate.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from recsim_env.config import NEVER, Scenario
from recsim_env.logs.fitting.fitted_world import FittedWorld
from recsim_env.logs.fitting.selection import expected_ratings
from recsim_env.logs.reading.ratings_log import positions_of

if TYPE_CHECKING:
    from recsim_env.logs.reading.shown_items import ShownItems

ASSUMED: Mapping[str, tuple[tuple[str, ...], str]] = {
    "examination": (("continue_probability",), "how far down users look"),
    "choice": (("choice_intercept",), "how many shown items are clicked"),
    "length of sessions": (("patience_mean",), "patience at the start"),
    "patience": ((), "how ratings and skips change it"),
    "satiation": (("satiation_gain",), "fewer clicks after clicks on a topic"),
    "repeats": (("repeat_after",), "whether consumed items are offered again"),
    "returns": (("return_rate",), "absences, for lifetimes"),
    "satisfaction": ((), "how it brings users back"),
    "trust": ((), "how disappointment lowers it, and it clicks"),
    "interests": ((), "how consumption changes them"),
}
"""Behaviour by name: the fields of which one is fitted where the log tells it, and what it is. Without such a field, no
log of shown items tells it: it would take an experiment."""

_MIN_SHOWN, _MIN_SESSIONS, _MIN_RETURNS = 100, 30, 30
_NUM_PATHS, _MAX_STEPS = 1_000, 1_000


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """One coefficient of the user model, and what it comes from."""

    section: str
    """Section of the scenario, such as `behaviour`."""
    field: str
    """Name of the field."""
    preset: float
    """Its value in the preset."""
    fitted: float
    """Its value from the log."""
    measure: str
    """What was measured, in words and numbers."""


def fitted_behaviour(shown: "ShownItems", world: FittedWorld, scenario: Scenario, seed: int = 0) -> list[Estimate]:
    """The coefficients of `scenario` that a log of shown items tells, for users and items of `world`.

    A coefficient is left out where the log has too little for it. `seed` is that of the simulated lengths of sessions.
    """
    examination, alone = _examination(shown, scenario)
    estimates = [*examination, *_choice(shown, world, scenario, alone)]
    known = {each.field: each.fitted for each in estimates}
    return [
        *estimates,
        *_patience(shown, world, scenario, np.random.default_rng(seed)),
        *_returns(shown, scenario),
        *_repeats(shown, scenario),
        *_satiation(shown, world, scenario, known),
    ]


def overrides_of(estimates: list[Estimate]) -> dict[str, dict[str, float]]:
    """The estimates as the argument of `Scenario.override`."""
    sections: dict[str, dict[str, float]] = {}
    for each in estimates:
        sections.setdefault(each.section, {})[each.field] = each.fitted
    return sections


# Examination and choice


def slate_click_rates(weight: float, continue_probability: float, again: float, num_slots: int) -> np.ndarray:
    """[S] float64: click rates of the slots of a slate whose items all have the utility log(`weight`).

    m slots are examined with probability c^(m-1) (1 - c), all S with c^(S-1). Of m examined slots the user clicks one
    with probability m w / (1 + m w), and considers the m - 1 others with probability `again`. By symmetry each examined
    slot has an m-th of the expected clicks E_m = q_m (1 + again E_(m-1)), with q_m = m w / (1 + m w).
    """
    examined = _examined(continue_probability, num_slots)
    rates, expected = np.zeros(num_slots), 0.0
    for m in range(1, num_slots + 1):
        expected = m * weight / (1.0 + m * weight) * (1.0 + again * expected)
        rates[:m] += examined[m - 1] * expected / m
    return rates


def _examined(continue_probability: float, num_slots: int) -> np.ndarray:
    """[S] float64: probabilities that 1 to S slots are examined."""
    return continue_probability ** np.arange(num_slots) * np.r_[np.full(num_slots - 1, 1 - continue_probability), 1.0]


def _examination(shown: "ShownItems", scenario: Scenario) -> tuple[list[Estimate], float]:
    """Click rates by slot give the probability of continuing, and slates with several clicks that of choosing again.

    Also the factor by which an item shown alone would be clicked more often than one in the first slot.
    """
    counts = np.bincount(shown.slots)
    num_slots = int((counts >= _MIN_SHOWN).sum())
    if num_slots < 2:
        return [], 1.0
    is_used = shown.slots < num_slots
    clicks = np.bincount(shown.slots[is_used], shown.clicks[is_used])
    rates = clicks / counts[:num_slots]
    if clicks.min() == 0:
        return [], 1.0
    again = scenario.behaviour.choose_again_probability
    for _ in range(3):  # the two depend on each other
        weight, continues = _examination_given(rates, clicks, again)
        again = _choosing_again(shown, weight, continues, num_slots)
    measure = f"click rate {rates[0]:.1%} in the first slot, {rates[-1]:.1%} in slot {num_slots}"
    alone = weight / (1.0 + weight) / slate_click_rates(weight, continues, again, num_slots)[0]
    return [
        _estimate(scenario, "behaviour", "continue_probability", continues, measure),
        _estimate(scenario, "behaviour", "choose_again_probability", again, "slates with several clicks"),
    ], alone


def _examination_given(rates: np.ndarray, clicks: np.ndarray, again: float) -> tuple[float, float]:
    """Weight and probability of continuing that fit the click rates best, weighted by clicks, in logarithms."""

    def error(continues: float) -> tuple[float, float]:
        weight = _root(
            lambda log: slate_click_rates(np.exp(log), continues, again, len(rates))[0] - rates[0], -12.0, 8.0
        )
        fitted = slate_click_rates(np.exp(weight), continues, again, len(rates))
        return float(clicks @ np.log(fitted / rates) ** 2), float(np.exp(weight))

    grid = np.linspace(0.01, 0.999, 100)
    best = min(grid, key=lambda continues: error(continues)[0])
    fine = np.clip(np.linspace(best - 0.01, best + 0.01, 41), 0.01, 0.999)
    best = min(fine, key=lambda continues: error(continues)[0])
    return error(best)[1], float(best)


def _choosing_again(shown: "ShownItems", weight: float, continues: float, num_slots: int) -> float:
    """The probability of considering the rest of a slate after a click, from the share of clicked slates with more."""
    slates = _slates(shown)
    num_clicks = np.bincount(slates, shown.clicks)
    share = (num_clicks >= 2).sum() / max((num_clicks >= 1).sum(), 1)
    examined = _examined(continues, num_slots)
    first = np.arange(1, num_slots + 1) * weight
    first = first / (1.0 + first)
    second = np.r_[0.0, first[:-1]]  # of m examined slots, m - 1 are left
    chance = float((examined * first * second).sum() / (examined * first).sum())
    return float(np.clip(share / chance, 0.0, 1.0)) if chance > 0.0 else 0.0


def _choice(shown: "ShownItems", world: FittedWorld, scenario: Scenario, alone: float) -> list[Estimate]:
    """The click rate of first slots gives the intercept of the choice, given affinity and appeal of what they showed.

    `alone` is the factor by which they would be clicked more often without the other slots.
    """
    users, items = _known_pairs(shown, world)
    is_used = (shown.slots == 0) & (users >= 0) & (items >= 0)
    is_first = is_used & (shown.steps == 0)  # without satiation and disappointment, if there are enough
    is_used = is_first if is_first.sum() >= 10 * _MIN_SHOWN else is_used
    if is_used.sum() < _MIN_SHOWN:
        return []
    users, items, rate = users[is_used], items[is_used], alone * float(shown.clicks[is_used].mean())
    if not 0.0 < rate < 1.0:
        return []
    behaviour = scenario.behaviour
    utility = behaviour.choice_affinity * world.affinity(users, items) + behaviour.choice_appeal * world.appeal[items]
    utility -= behaviour.choice_distrust * (1.0 - behaviour.initial_trust)
    intercept = _root(lambda b: _logistic(utility + b).mean() - rate, -30.0, 30.0)
    measure = f"click rate {rate:.1%} of an item shown alone"
    return [_estimate(scenario, "behaviour", "choice_intercept", intercept, measure)]


# Patience, returns, repeats


def _patience(
    shown: "ShownItems", world: FittedWorld, scenario: Scenario, generator: np.random.Generator
) -> list[Estimate]:
    """Lengths of sessions give mean and spread of initial patience, given how ratings and skips change it."""
    lengths = _session_lengths(shown)
    if len(lengths) < _MIN_SESSIONS:
        return []
    changes = _patience_changes(shown, world, scenario)
    draws = generator.integers(len(changes), size=(_NUM_PATHS, _MAX_STEPS))
    scores = generator.standard_normal(_NUM_PATHS)
    walks = np.cumsum(changes[draws], 1, dtype=np.float32)
    lowest = np.minimum.accumulate(walks, 1)

    def simulated(mean: float, sd: float) -> np.ndarray:
        patience = np.minimum(mean * np.exp(sd * scores - sd**2 / 2), scenario.behaviour.patience_limit)
        # The first step at which patience is exhausted; the limit of later patience is left out.
        return np.minimum((lowest > -patience[:, None]).sum(1) + 1, _MAX_STEPS)

    target, limit = lengths.mean(), float(min(50.0, scenario.behaviour.patience_limit))
    best: tuple[float, float, float] | None = None
    for sd in (0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0, 1.3):
        if simulated(limit, sd).mean() < target or simulated(0.02, sd).mean() > target:
            continue
        mean = _root(lambda value, sd=sd: simulated(value, sd).mean() - target, 0.02, limit)  # type: ignore[misc]
        quantiles = np.linspace(0.05, 0.95, 19)
        distance = float(np.abs(np.quantile(simulated(mean, sd), quantiles) - np.quantile(lengths, quantiles)).mean())
        if best is None or distance < best[0]:
            best = distance, mean, sd
    if best is None:
        return []
    measure = f"sessions of {target:.1f} steps on average, median {np.median(lengths):.0f}"
    return [
        _estimate(scenario, "population", "patience_mean", best[1], measure),
        _estimate(scenario, "population", "patience_sd", best[2], "spread of the lengths of sessions"),
    ]


def _session_lengths(shown: "ShownItems") -> np.ndarray:
    """[V] number of steps of each session."""
    ends = np.r_[np.flatnonzero(np.diff(shown.sessions)), len(shown.sessions) - 1]
    return shown.steps[ends] + 1


def _patience_changes(shown: "ShownItems", world: FittedWorld, scenario: Scenario) -> np.ndarray:
    """Change of patience in each slate: a skip, or the expected ratings of the clicked items of known pairs."""
    behaviour = scenario.behaviour
    slates = _slates(shown)
    users, items = _known_pairs(shown, world)
    is_rated = shown.clicks & (users >= 0) & (items >= 0)
    ratings = np.full(len(slates), np.nan)
    ratings[is_rated] = expected_ratings(world, users[is_rated], items[is_rated])
    mean = float(np.nanmean(ratings)) if is_rated.any() else 3.0
    gains = np.where(shown.clicks, behaviour.patience_gain * (np.where(is_rated, ratings, mean) - 3.0), 0.0)
    has_click = np.bincount(slates, shown.clicks) > 0
    return np.where(has_click, np.bincount(slates, gains), -behaviour.patience_skip)


def _returns(shown: "ShownItems", scenario: Scenario) -> list[Estimate]:
    """Absences give the hazard of return: returns per day of absence, the last absence of a user being unfinished."""
    if shown.times is None:
        return []
    starts = np.flatnonzero(np.r_[True, np.diff(shown.sessions) != 0])
    ends = np.r_[starts[1:] - 1, len(shown.sessions) - 1]
    users, first, last = shown.users[starts], shown.times[starts], shown.times[ends]
    is_same = users[1:] == users[:-1]
    absences = (first[1:] - last[:-1])[is_same]
    unfinished = shown.times.max() - last[np.r_[~is_same, True]]
    if len(absences) < _MIN_RETURNS or absences.sum() <= 0.0:
        return []
    hazard = len(absences) / (absences.sum() + unfinished.sum())
    lifetime = scenario.lifetime
    remaining = np.exp(-lifetime.habit_decay / hazard)  # of a habit, in a mean absence
    habit = lifetime.habit_gain * remaining / (1.0 - (1.0 - lifetime.habit_gain) * remaining)
    rate = hazard * np.exp(-lifetime.return_habit * habit)
    measure = f"{len(absences):,} returns, {hazard:.2f} per day of absence"
    churn = float(np.quantile(absences, 0.99))
    return [
        _estimate(scenario, "lifetime", "return_rate", float(rate), measure),
        _estimate(scenario, "lifetime", "churn_days", churn, "99% of the absences that end are shorter"),
    ]


def _repeats(shown: "ShownItems", scenario: Scenario) -> list[Estimate]:
    """Clicks on items that the user has clicked before tell whether consumed items are offered again."""
    if shown.clicks.sum() < _MIN_SHOWN:
        return []
    pairs = np.char.add(np.char.add(shown.users[shown.clicks], "\t"), shown.items[shown.clicks])
    share = 1.0 - len(np.unique(pairs)) / len(pairs)
    repeat_after = NEVER if share < 0.005 else 0
    measure = f"{share:.1%} of the clicks repeat one of the user's"
    return [_estimate(scenario, "catalog", "repeat_after", repeat_after, measure)]


# Satiation


def _satiation(
    shown: "ShownItems", world: FittedWorld, scenario: Scenario, known: Mapping[str, float]
) -> list[Estimate]:
    """Clicks in first slots after clicks on the same topics give the gain of satiation, where it is significant.

    A logistic regression of the click on satiation, with the utility by the world's affinity and appeal as an offset:
    a click's satiation with its topics decays by `satiation_decay` in each step. Its sum over all topics is a control:
    after several clicks trust may have changed.
    """
    users, items = _known_pairs(shown, world)
    behaviour = scenario.behaviour
    if world.item_topics.shape[1] < 2 or behaviour.choice_affinity == 0.0:
        return []
    (satiation, total), is_used = np.zeros((2, len(items))), (shown.slots == 0) & (users >= 0) & (items >= 0)
    none = np.zeros(world.item_topics.shape[1])
    level, added, session, step = none, none, -1, 0
    for row in np.flatnonzero((items >= 0) & (is_used | shown.clicks)):
        if shown.sessions[row] != session:
            session, step, level, added = shown.sessions[row], shown.steps[row], none, none
        elif shown.steps[row] != step:  # clicks satiate from the next step on
            level = (level + added) * behaviour.satiation_decay ** (shown.steps[row] - step - 1)
            step, added = shown.steps[row], none
            # The step's own decay comes after its slate.
            if is_used[row]:
                satiation[row], total[row] = level @ world.item_topics[items[row]], level.sum()
            level = level * behaviour.satiation_decay
        if shown.clicks[row]:
            added = added + world.item_topics[items[row]]
    users, items, clicks = users[is_used], items[is_used], shown.clicks[is_used]
    satiation, total = satiation[is_used], total[is_used]
    if len(clicks) < 10 * _MIN_SHOWN or np.ptp(satiation) == 0.0:
        return []
    offset = behaviour.choice_affinity * world.affinity(users, items) + behaviour.choice_appeal * world.appeal[items]
    slope, error = _logistic_slope(
        clicks, np.c_[satiation, total], offset + known.get("choice_intercept", behaviour.choice_intercept)
    )
    if slope > -2.0 * error:
        return []
    clicked = users[clicks], items[clicks]
    logits = (
        behaviour.consumption_affinity * world.affinity(*clicked)
        + behaviour.consumption_quality * world.quality[clicked[1]]
    )
    consumed = float(_logistic(behaviour.consumption_intercept + logits).mean())  # satiation is in proportion to it
    gain = -slope / (behaviour.choice_affinity * consumed)
    measure = f"{slope:+.2f} ± {2 * error:.2f} logits after a click on the same topic"
    return [_estimate(scenario, "behaviour", "satiation_gain", gain, measure)]


def _logistic_slope(clicks: np.ndarray, covariates: np.ndarray, offset: np.ndarray) -> tuple[float, float]:
    """Slope of the first covariate and its standard error in a logistic regression with an intercept and an offset
    (Newton's method)."""
    design = np.c_[np.ones(len(clicks)), covariates]
    coefficients = np.zeros(design.shape[1])
    for _ in range(25):
        probability = _logistic(design @ coefficients + offset)
        information = design.T @ (design * (probability * (1.0 - probability))[:, None])
        step = np.linalg.solve(information, design.T @ (clicks - probability))
        coefficients = coefficients + step
        if np.abs(step).max() < 1e-8:
            break
    return float(coefficients[1]), float(np.sqrt(np.linalg.inv(information)[1, 1]))


# What they share


def _slates(shown: "ShownItems") -> np.ndarray:
    """[R] int64: the number of each row's slate, from 0."""
    is_new = (np.diff(shown.sessions) != 0) | (np.diff(shown.steps) != 0)
    return np.cumsum(np.r_[0, is_new])


def _known_pairs(shown: "ShownItems", world: FittedWorld) -> tuple[np.ndarray, np.ndarray]:
    """[R] int64 indices of the users and items of each row in the world, -1 where it does not have them."""
    return positions_of(shown.users, world.user_ids), positions_of(shown.items, world.item_ids)


def _logistic(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """A root of an increasing function, by bisection."""
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) < 0.0 else (low, middle)
    return (low + high) / 2


def _estimate(scenario: Scenario, section: str, field: str, fitted: float, measure: str) -> Estimate:
    preset = getattr(getattr(scenario, section), field)
    return Estimate(section=section, field=field, preset=preset, fitted=fitted, measure=measure)
