"""Mean answers and factors of items, estimated from background users' answers.

An answer is the square of a rating / 5 (see `simulation.relevance`, which predicts with these). The factors are a
matrix factorisation of the answers. Both are uncertain for items with few impressions, like the item statistics, and
shrunk towards predictions from content: a ridge regression over the catalogue, without the item itself.

Shape legend: I items, A refreshes of item statistics, U background users, F content features, D tastes.
"""

import numpy as np

from recsim_env.simulation.observation import num_impressions
from recsim_env.simulation.records import NUM_TASTES, REFRESHES_PER_ESTIMATE
from recsim_env.simulation.relevance import answers_of

_PRIOR_IMPRESSIONS, _PRIOR_CLICKS = 20.0, 50.0
"""Impressions with the predicted mean answer, and clicks with the catalogue's ratings per click, added to each item."""
_RIDGE = 1.0
_NUM_ITERATIONS = 8


def answer_factors(
    answers: np.ndarray,
    answer_variance: float,
    item_statistics: np.ndarray,
    features: np.ndarray,
    generator: np.random.Generator,
) -> tuple[np.ndarray, float]:
    """The factors of each item as known at every fourth refresh, and the variance of the noise.

    Args:
        answers: [I, U], answer of each background user to each item.
        answer_variance: mean variance of the answers to an item, 0..6.25.
        item_statistics: [A, I, 4], see `item_statistics.background_statistics`.
        features: [I, F], content.
        generator: draws the errors of the factors.

    Returns:
        [I, A / 4, D] float32: factors phi, for tastes with mean 0 and variance 1.
        The variance of an answer around its mean plus phi . tastes.
    """
    factors = principal_factors(answers, generator)  # [I, D]
    noise_variance = max(answer_variance - float((factors**2).sum(1).mean()), 1e-3)
    impressions = [num_impressions(each) for each in item_statistics[::REFRESHES_PER_ESTIMATE]]  # [I] each
    errors, before = np.zeros(factors.shape), np.zeros(len(answers))
    estimates = []
    for total in impressions:  # the error of a mean over all impressions so far
        errors += np.sqrt(noise_variance * (total - before))[:, None] * generator.standard_normal(factors.shape)
        estimates.append(factors + errors / np.maximum(total, 1.0)[:, None])
        before = total
    weights = _reliabilities(impressions[-1])
    predicted = ridge_prediction(features, estimates[-1], weights)
    residuals = (estimates[-1] - predicted) ** 2 - noise_variance / np.maximum(impressions[-1], 1.0)[:, None]
    variance = np.maximum(np.einsum("i,id->d", weights, residuals) / max(weights.sum(), 1e-12), 0.0)  # [D]
    known = np.empty((len(answers), len(impressions), NUM_TASTES), np.float32)
    for refresh, total in enumerate(impressions):
        information = total[:, None] * variance
        known[:, refresh] = predicted + information / (information + noise_variance) * (estimates[refresh] - predicted)
    return known, noise_variance


def mean_answers(item_statistics: np.ndarray, rating_variance: float, features: np.ndarray) -> np.ndarray:
    """[I, A] float32, 0..5: mean answers at each refresh, shrunk towards the prediction from content.

    Args:
        item_statistics: [A, I, 4], see `item_statistics.background_statistics`.
        rating_variance: mean variance of the ratings of an item.
        features: [I, F], content.
    """
    last, latest = item_statistics[-1].astype(np.float64), num_impressions(item_statistics[-1])
    ratings_per_click = last[:, 3].sum() / max((last[:, 1] * latest).sum(), 1.0)

    def answers_at(refresh: int) -> tuple[np.ndarray, np.ndarray]:
        """Sum of the answers [I], and impressions [I]."""
        _, click_rate, mean_rating, num_ratings = item_statistics[refresh].astype(np.float64).T
        impressions = num_impressions(item_statistics[refresh])
        clicks = click_rate * impressions
        rating_rate = (num_ratings + _PRIOR_CLICKS * ratings_per_click) / (clicks + _PRIOR_CLICKS)
        return clicks * rating_rate * (answers_of(5.0 * mean_rating) + answers_of(rating_variance**0.5)), impressions

    answers, impressions = answers_at(-1)
    means = (answers / np.maximum(impressions, 1.0))[:, None]
    predicted = np.clip(ridge_prediction(features, means, _reliabilities(impressions))[:, 0], 0.0, 5.0)
    known = np.empty((len(predicted), len(item_statistics)), np.float32)
    for refresh in range(len(item_statistics)):
        answers, impressions = answers_at(refresh)
        known[:, refresh] = (answers + _PRIOR_IMPRESSIONS * predicted) / (impressions + _PRIOR_IMPRESSIONS)
    return known


def principal_factors(answers: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """[I, D]: factors phi of the items, so that phi phi' is the best covariance of rank D of the answers [I, U].

    Orthogonal iteration. Large products avoid BLAS, whose results depend on the number of threads.
    """
    deviations = answers - answers.mean(1, keepdims=True)
    directions = generator.standard_normal((answers.shape[1], NUM_TASTES))  # [U, D]
    for _ in range(_NUM_ITERATIONS):
        factors = np.einsum("iu,ud->id", deviations, directions)
        directions = np.linalg.qr(np.einsum("iu,id->ud", deviations, factors))[0]
    return np.einsum("iu,ud->id", deviations, directions) / np.sqrt(answers.shape[1])


def ridge_prediction(features: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """[I, T] float64: targets [I, T] of each item as a linear function of its features [I, F], fitted to all others.

    Args:
        weights: [I], 0 for items to ignore; the prediction is 0 without any.
    """
    total = max(float(weights.sum()), 1e-12)
    inputs = features - np.einsum("i,if->f", weights, features) / total
    means = np.einsum("i,it->t", weights, targets) / total
    precision = np.einsum("i,if,ig->fg", weights, inputs, inputs) + _RIDGE * np.eye(inputs.shape[1])
    moments = np.einsum("i,if,it->ft", weights, inputs, targets - means)
    fitted = means + np.einsum("if,ft->it", inputs, np.linalg.solve(precision, moments))
    own = weights * (np.einsum("if,if->i", inputs, np.linalg.solve(precision, inputs.T).T) + 1.0 / total)
    own = np.minimum(own, 0.99)[:, None]  # of the item's own target in its prediction
    return (fitted - own * targets) / (1.0 - own)


def _reliabilities(impressions: np.ndarray) -> np.ndarray:
    return impressions / (impressions + _PRIOR_IMPRESSIONS)
