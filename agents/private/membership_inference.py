"""Membership inference: how well an attacker tells from a model whether a person was in its training log.

The attacker knows the steps of a person and the scores of the model, so its loss on them. Two attacks: the loss itself,
as members tend to have lower ones (Yeom et al., "Privacy risk in machine learning", CSF 2018), and LiRA, which compares
it with the losses of shadow models that were trained without the person (Carlini et al., "Membership inference attacks
from first principles", IEEE Symposium on Security and Privacy 2022, the offline attack with a global variance).

Shape legend: P people, K shadow models, R attacked models.
"""

from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

from agents.off_policy.estimate import Z_95
from agents.offline.logged_steps import LoggedSteps
from agents.private.people import People
from agents.private.reward_model import RewardModel, person_losses

ATTACKS = ("threshold", "LiRA")

_LEAST_LOSS = 1e-8


class Interval(NamedTuple):
    """An estimate and its 95% interval."""

    value: float
    low: float
    high: float


def loss_score(losses: np.ndarray) -> np.ndarray:
    """Minus the logarithm of losses, which is closer to a normal distribution; the score of the threshold attack."""
    return -np.log(np.maximum(losses, _LEAST_LOSS))


def lira_scores(losses: np.ndarray, shadow_losses: np.ndarray, is_out: np.ndarray) -> np.ndarray:
    """[P]: standard deviations by which the loss score of each person exceeds that of models trained without it.

    Args:
        losses: [P] of the attacked model.
        shadow_losses: [K, P] of the shadow models.
        is_out: [K, P] bool: whether the shadow model was trained without the person.

    Raises:
        ValueError: a person was in the training of all shadow models.
    """
    num_out = is_out.sum(0)
    if not num_out.all():
        raise ValueError("is_out: must have a shadow model without each person")
    scores = np.where(is_out, loss_score(shadow_losses), 0.0)
    means = scores.sum(0) / num_out
    squares = (np.where(is_out, scores - means, 0.0) ** 2).sum()
    variance = squares / max(num_out.sum() - len(num_out), 1)
    return (loss_score(losses) - means) / np.sqrt(max(variance, 1e-12))


def auc(scores: np.ndarray, is_member: np.ndarray) -> float:
    """Probability that a random member has a higher score than a random other person; 0.5 for equal scores."""
    num_members = int(is_member.sum())
    ranks = rankdata(scores)[is_member].sum()
    return float((ranks - num_members * (num_members + 1) / 2) / (num_members * (len(scores) - num_members)))


def auc_interval(scores: np.ndarray, is_member: np.ndarray) -> Interval:
    """Mean AUC over models that have scores [R, P] for the same people, and its 95% interval over people.

    DeLong, DeLong and Clarke-Pearson, "Comparing the areas under two or more correlated receiver operating
    characteristic curves", Biometrics 1988: the variance of the share of others that each person is ahead of or behind.

    Raises:
        ValueError: a model has no members or no others.
    """
    is_member = np.asarray(is_member, np.bool_)
    if is_member.all(1).any() or not is_member.any(1).all():
        raise ValueError("is_member: must have members and others for each model")
    num_people = scores.shape[1]
    values, influences = [], np.zeros(num_people)
    for own, of_member in zip(scores, is_member, strict=True):
        value = auc(own, of_member)
        ranks = rankdata(own)
        for group, is_ahead in ((of_member, True), (~of_member, False)):
            shares = (ranks[group] - rankdata(own[group])) / (num_people - group.sum())  # of the others, with less
            shares = shares if is_ahead else 1.0 - shares
            influences[group] += (shares - value) * num_people / group.sum()
        values.append(value)
    value, half = float(np.mean(values)), Z_95 * float(np.sqrt((influences / len(values)).var() / num_people))
    return Interval(value, max(value - half, 0.0), min(value + half, 1.0))


def audit(
    model: RewardModel, log: LoggedSteps, others: LoggedSteps, *, num_shadows: int = 4, seed: int = 0
) -> dict[str, Interval]:
    """AUC of each of `ATTACKS` on a model, between the people of its training and other people.

    Args:
        model: a trained one.
        log: of its training.
        others: a log of other people of the same population; those who are in both are left out. Each shadow model is
            trained on a random half of them.
        num_shadows: K, at least 2.
        seed: of the halves and the shadow models.

    Raises:
        ValueError: there are fewer than four other people.
    """
    members, strangers = People.of(log), People.of(others)
    is_unseen = ~np.isin(strangers.ids, members.ids)
    unseen = [strangers.rows[number] for number in np.flatnonzero(is_unseen)]
    if len(unseen) < 4:
        raise ValueError(f"others: have {len(unseen)} people who are not in the log of the training, must have 4")
    is_member = np.repeat([True, False], [len(members), len(unseen)])
    generator = np.random.default_rng(seed)
    # Pairs of complementary halves: each person is left out at least once.
    halves: list[np.ndarray] = []
    for _ in range(-(-num_shadows // 2)):
        is_first = np.isin(np.arange(len(unseen)), generator.permutation(len(unseen))[: len(unseen) // 2])
        halves += [is_first, ~is_first]
    halves = halves[: max(num_shadows, 2)]
    shadow_losses = []
    for number, half in enumerate(halves):
        shadow = model.untrained(seed + number + 1)
        shadow.fit(others.rows(np.sort(np.concatenate([unseen[person] for person in np.flatnonzero(half)]))))
        shadow_losses.append(_losses(shadow, log, members.rows, others, unseen))
    is_out = np.array([np.append(np.ones(len(members), np.bool_), ~half) for half in halves])
    losses = _losses(model, log, members.rows, others, unseen)
    scores = {"threshold": loss_score(losses), "LiRA": lira_scores(losses, np.array(shadow_losses), is_out)}
    return {name: auc_interval(scores[name][None], is_member[None]) for name in ATTACKS}


def _losses(
    model: RewardModel, log: LoggedSteps, members: list[np.ndarray], others: LoggedSteps, unseen: list[np.ndarray]
) -> np.ndarray:
    return np.append(person_losses(model, log, members), person_losses(model, others, unseen))
