"""Item statistics: impressions, click rates and mean ratings from the background users of the platform.

Shape legend: I items, A ages at which statistics are refreshed, U sampled users.
"""

import numpy as np

from recsim_env.config import CatalogConfig
from recsim_env.simulation.compilation import kernel
from recsim_env.simulation.custom_user_model import DEFAULT_USER_MODEL, UserModel
from recsim_env.simulation.observation import STATISTICS, scaled_impressions
from recsim_env.simulation.random_streams import combine
from recsim_env.simulation.record_types import as_bytes
from recsim_env.simulation.records import (
    ITEM,
    NUM_REFRESHES,
    PARAMETERS,
    SESSION,
    USER,
    WorldSizes,
    dtypes,
    make_layout,
)
from recsim_env.simulation.relevance import answer_of
from recsim_env.simulation.user_model import (
    choice_utility,
    draw_rating,
    effective_affinity,
    init_user,
    logistic,
    purchase_probability,
)

_SAMPLED_USERS = 256
_SAMPLED_PAIRS = 20_000_000


@kernel
def _init_users(sessions, users, parameters, layout, chosen):
    sessions, users, p = SESSION(sessions, layout), USER(users, layout), PARAMETERS(parameters, layout)[0]
    for n in range(len(sessions)):
        sessions[n].user = chosen[n]
        init_user(sessions[n], users[chosen[n]], p)


def new_user_sessions(
    users: np.ndarray,
    chosen: np.ndarray,
    noise_keys: np.ndarray,
    sizes: WorldSizes,
    parameters: np.ndarray,
    user_model: UserModel = DEFAULT_USER_MODEL,
) -> np.ndarray:
    """[U] session records of the `chosen` users at their first visit; for scoring items, not for steps."""
    sessions = np.zeros(len(chosen), dtypes(sizes)[SESSION])
    sessions["user_key"] = sessions["noise_key"] = noise_keys
    records = as_bytes(sessions), as_bytes(users), as_bytes(parameters)
    user_model.adapted(_init_users)(*records, make_layout(sizes), chosen)
    return sessions


@kernel
def _respond_all(sessions, items, parameters, layout, answers, responses):
    """Fill `responses` [I, 5], and [I, U] the answers of the users of the sessions: the probability of a submitted
    rating times the answer, with one draw of the rating's noise for each pair."""
    sessions, items, p = SESSION(sessions, layout), ITEM(items, layout), PARAMETERS(parameters, layout)[0]
    for i in range(len(items)):
        item = items[i]
        clicks, ratings, total, squares, mean_answer, mean_square = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for n in range(len(sessions)):
            session = sessions[n]
            session.start_step, session.noise_key = item.release_step, combine(session.user_key, i)
            affinity = effective_affinity(session, item, p)
            click = logistic(choice_utility(session, item, affinity, p))
            weight = click * purchase_probability(session, item, affinity, p) if p.is_shop else click
            rating = draw_rating(session, item, affinity, p)
            answers[i, n] = p.rating_probability * weight * answer_of(rating)
            mean_answer += answers[i, n] / len(sessions)
            mean_square += answers[i, n] * answer_of(rating) / len(sessions)
            clicks += click
            ratings += weight
            total += weight * rating
            squares += weight * rating * rating
        mean = total / max(ratings, 1e-12)
        responses[i, 0] = clicks / len(sessions)
        responses[i, 1] = ratings / max(clicks, 1e-12)
        responses[i, 2] = mean
        responses[i, 3] = np.sqrt(max(squares / max(ratings, 1e-12) - mean * mean, 0.0))
        responses[i, 4] = mean_square - mean_answer * mean_answer


def population_response(
    items: np.ndarray,
    users: np.ndarray,
    sizes: WorldSizes,
    parameters: np.ndarray,
    generator: np.random.Generator,
    user_model: UserModel = DEFAULT_USER_MODEL,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Response of users at their first visit to each item, just released and shown alone.

    Returns:
        [I, 4] float64: share of clicks; share of ratings among them; mean and standard deviation of the ratings.
        [I, U] float64: answer of each of U users to each item, see `relevance`: the probability of a submitted rating
        times the answer, with one draw of the rating's noise.
        Mean variance of the answers to an item.
    """
    num_sampled = int(np.clip(_SAMPLED_PAIRS // len(items), 16, _SAMPLED_USERS))
    noise_keys = generator.integers(2**63, size=num_sampled).astype(np.uint64)
    chosen = generator.choice(len(users), num_sampled, replace=len(users) < num_sampled)
    sessions = new_user_sessions(users, chosen, noise_keys, sizes, parameters, user_model)
    responses, answers = np.zeros((len(items), 5)), np.zeros((len(items), num_sampled))
    records = as_bytes(sessions), as_bytes(items), as_bytes(parameters)
    user_model.adapted(_respond_all)(*records, make_layout(sizes), answers, responses)
    return responses[:, :4], answers, float(responses[:, 4].mean())


def background_statistics(
    responses: np.ndarray, config: CatalogConfig, rating_probability: float, generator: np.random.Generator
) -> np.ndarray:
    """[A, I, 4] float32: `STATISTICS` of each item at each refresh, in [0, 1], and its number of ratings.

    All are 0 at the release. Background users see an item `impressions_per_step` times a step on average, and respond
    as the population does (`population_response`); counts accumulate from one refresh to the next.
    """
    click_rate, rating_rate, mean, deviation = responses.T
    num_items = len(responses)
    statistics = np.zeros((NUM_REFRESHES, num_items, len(STATISTICS) + 1), np.float32)
    impressions, clicks, ratings, totals = (np.zeros(num_items) for _ in range(4))
    age = 0
    for refresh in range(1, NUM_REFRESHES):
        next_age = 2 ** (refresh - 1)
        new_impressions = generator.poisson(config.impressions_per_step * (next_age - age), num_items)
        new_clicks = generator.binomial(new_impressions, click_rate)
        new_ratings = generator.binomial(new_clicks, np.clip(rating_rate * rating_probability, 0.0, 1.0))
        error = deviation * np.sqrt(new_ratings) * generator.standard_normal(num_items)
        new_totals = np.clip(mean * new_ratings + error, new_ratings, 5.0 * new_ratings)
        impressions, clicks = impressions + new_impressions, clicks + new_clicks
        ratings, totals = ratings + new_ratings, totals + new_totals
        statistics[refresh, :, 0] = scaled_impressions(impressions)
        statistics[refresh, :, 1] = clicks / np.maximum(impressions, 1.0)
        statistics[refresh, :, 2] = totals / np.maximum(ratings, 1.0) / 5.0
        statistics[refresh, :, 3] = ratings
        age = next_age
    return statistics
