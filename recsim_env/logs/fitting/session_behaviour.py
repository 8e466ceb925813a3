"""Coefficients of the user model, estimated from a log of shown items; they override those of a preset.

Click rates by position identify examination and choice; session lengths identify patience; absences identify the hazard
of return; repeated clicks show whether items are offered again; clicks after clicks on the same topic identify
satiation. All other behaviour is assumed to be that of the preset: `ASSUMED`.

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
    "examination": (("continue_probability",), "examined slots of a slate"),
    "choice": (("choice_intercept",), "click rate of examined items"),
    "session length": (("patience_mean",), "initial patience"),
    "patience": ((), "its change after ratings and skips"),
    "satiation": (("satiation_gain",), "fewer clicks after clicks on a topic"),
    "repeats": (("repeat_after",), "whether consumed items are offered again"),
    "returns": (("return_rate",), "absences, in lifetimes"),
    "satisfaction": ((), "its effect on returns"),
    "trust": ((), "its loss after disappointment, and its effect on clicks"),
    "interests": ((), "their change after consumption"),
}
"""Behaviour by name: the field that is fitted if the log identifies it, and a description. Behaviour without such a
field cannot be identified from a log of shown items; it takes an experiment."""

_MIN_SHOWN, _MIN_SESSIONS, _MIN_RETURNS = 100, 30, 30
_NUM_PATHS, _MAX_STEPS = 1_000, 1_000


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """An estimated coefficient of the user model."""

    section: str
    """Section of the scenario, such as `behaviour`."""
    field: str
    """Name of the field."""
    preset: float
    """Its value in the preset."""
    fitted: float
    """Its value from the log."""
    measure: str
    """The measurement behind it, in words and numbers."""


def fitted_behaviour(shown: "ShownItems", world: FittedWorld, scenario: Scenario, seed: int = 0) -> list[Estimate]:
    """Estimate coefficients of `scenario` from a log of shown items, for users and items of `world`.

    A coefficient is omitted if the log has too little data for it. `seed` is that of the simulated session lengths.
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

    m < S slots are examined with probability c^(m-1) (1 - c), all S with c^(S-1). Of m examined slots, the user clicks
    one with probability q_m = m w / (1 + m w), and then considers the m - 1 others with probability `again`. By
    symmetry each examined slot has an m-th of the expected clicks E_m = q_m (1 + again E_(m-1)).
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
    """Estimate the probability of continuing from click rates by slot, and that of choosing again from slates with
    several clicks.

    Also returns the factor by which the click rate of an item shown alone exceeds that of the first slot.
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
    """Weight and probability of continuing with the best fit to the log click rates, weighted by clicks."""

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
    """The probability of considering a slate again after a click, from the share of clicked slates with several."""
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
    """Estimate the intercept of the choice from the click rate of first slots, given their items' affinity and appeal.

    `alone` is the factor by which their click rate would rise without the other slots.
    """
    users, items = _known_pairs(shown, world)
    is_used = (shown.slots == 0) & (users >= 0) & (items >= 0)
    is_first = is_used & (shown.steps == 0)  # if there are enough: before satiation and disappointment
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
    """Estimate mean and spread of initial patience from session lengths, given its changes after ratings and skips."""
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
        # The first step at which patience is exhausted; the upper limit of later patience is ignored.
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
        _estimate(scenario, "population", "patience_sd", best[2], "spread of session lengths"),
    ]


def _session_lengths(shown: "ShownItems") -> np.ndarray:
    """[V] number of steps in each session."""
    ends = np.r_[np.flatnonzero(np.diff(shown.sessions)), len(shown.sessions) - 1]
    return shown.steps[ends] + 1


def _patience_changes(shown: "ShownItems", world: FittedWorld, scenario: Scenario) -> np.ndarray:
    """Change of patience after each slate: that of a skip, or that of the expected ratings of clicked items."""
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
    """Estimate the hazard of return, in returns per day of absence; the last absence of each user is censored."""
    if shown.times is None:
        return []
    starts = np.flatnonzero(np.r_[True, np.diff(shown.sessions) != 0])
    ends = np.r_[starts[1:] - 1, len(shown.sessions) - 1]
    users, first, last = shown.users[starts], shown.times[starts], shown.times[ends]
    is_same = users[1:] == users[:-1]
    absences = (first[1:] - last[:-1])[is_same]
    censored = shown.times.max() - last[np.r_[~is_same, True]]
    if len(absences) < _MIN_RETURNS or absences.sum() <= 0.0:
        return []
    hazard = len(absences) / (absences.sum() + censored.sum())
    lifetime = scenario.lifetime
    remaining = np.exp(-lifetime.habit_decay / hazard)  # share of a habit that is left after a mean absence
    habit = lifetime.habit_gain * remaining / (1.0 - (1.0 - lifetime.habit_gain) * remaining)
    rate = hazard * np.exp(-lifetime.return_habit * habit)
    measure = f"{len(absences):,} returns, {hazard:.2f} per day of absence"
    churn = float(np.quantile(absences, 0.99))
    return [
        _estimate(scenario, "lifetime", "return_rate", float(rate), measure),
        _estimate(scenario, "lifetime", "churn_days", churn, "99% of completed absences are shorter"),
    ]


def _repeats(shown: "ShownItems", scenario: Scenario) -> list[Estimate]:
    """Detect from repeated clicks on an item by the same user whether consumed items are offered again."""
    if shown.clicks.sum() < _MIN_SHOWN:
        return []
    pairs = np.char.add(np.char.add(shown.users[shown.clicks], "\t"), shown.items[shown.clicks])
    share = 1.0 - len(np.unique(pairs)) / len(pairs)
    repeat_after = NEVER if share < 0.005 else 0
    measure = f"{share:.1%} of the clicks are repeated clicks on an item"
    return [_estimate(scenario, "catalog", "repeat_after", repeat_after, measure)]


# Satiation


def _satiation(
    shown: "ShownItems", world: FittedWorld, scenario: Scenario, known: Mapping[str, float]
) -> list[Estimate]:
    """Estimate the gain of satiation from clicks in first slots after clicks on the same topics, if it is significant.

    Logistic regression of clicks on satiation, with the utility from affinity and appeal in the world as an offset. A
    click adds satiation with its topics, which decays by `satiation_decay` at each step. Satiation summed over all
    topics is a control variable, since trust may have changed after several clicks.
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
            # The decay of a step follows its slate.
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
    consumed = float(_logistic(behaviour.consumption_intercept + logits).mean())  # satiation is proportional to it
    gain = -slope / (behaviour.choice_affinity * consumed)
    measure = f"{slope:+.2f} ± {2 * error:.2f} logits after a click on the same topic"
    return [_estimate(scenario, "behaviour", "satiation_gain", gain, measure)]


def _logistic_slope(clicks: np.ndarray, covariates: np.ndarray, offset: np.ndarray) -> tuple[float, float]:
    """Slope of the first covariate and its standard error, by logistic regression with intercept and offset (Newton's
    method)."""
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


# Shared by the estimates


def _slates(shown: "ShownItems") -> np.ndarray:
    """[R] int64: index of each row's slate."""
    is_new = (np.diff(shown.sessions) != 0) | (np.diff(shown.steps) != 0)
    return np.cumsum(np.r_[0, is_new])


def _known_pairs(shown: "ShownItems", world: FittedWorld) -> tuple[np.ndarray, np.ndarray]:
    """[R] int64 indices in the world of the user and item of each row, -1 if unknown."""
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
