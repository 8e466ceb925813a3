"""Knows the world but not the person: keeps a belief about who is visiting, and shows what is best under it.

A particle filter (Gordon, Salmond and Smith, 1993) over the user's latent state, regularised as by Liu and West,
"Combined parameter and state estimation in simulation-based filtering", 2001. The reference for what an agent can
reach at all.

Shape legend: N sessions, B particles (beliefs) of each, M candidates, D interest factors, P profile features.
"""

import itertools
import math
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numba import njit

from agents.agent import Observations
from agents.foresight import OneItemAgent, foresight, people_of
from recsim_env.observation import CONTEXT, FEEDBACK
from recsim_env.random_streams import Purpose, normal, stream, uniform_in
from recsim_env.user_model import (
    NO_ITEM,
    change,
    choice_utility,
    effective_affinity,
    expected_stars,
    logistic,
    mean_opinion,
    stars,
)
from recsim_env.vector_env import RecommenderVectorEnv
from recsim_env.world import World

_SHRINKAGE = 0.98
"""Of particles towards their mean when they are drawn anew; the spread that this takes away is put back as noise."""


@njit(cache=True)
def _log_probability_of_stars(opinion, noise_sd, rating, p):
    """log P(rating) of an opinion with Gaussian noise."""
    above = 1.0
    if rating > 1.5:
        above = 0.5 * math.erfc((p.rating_cuts[int(rating) - 2] - opinion) / (noise_sd * math.sqrt(2.0)))
    below = 0.0
    if rating < 4.5:
        below = 0.5 * math.erfc((p.rating_cuts[int(rating) - 1] - opinion) / (noise_sd * math.sqrt(2.0)))
    return math.log(max(above - below, 1e-12))


@njit(cache=True)
def take_in(particle, item, click, consumption, rating, draws, p):
    """Log-likelihood of an answer for one particle, whose state then changes as the user's did.

    A rating that was not submitted is drawn (`draws` is a stream of its own for each particle and step).
    """
    affinity = effective_affinity(particle, item)
    utility = choice_utility(particle, item, affinity, p)
    if click == 0.0:
        for k in range(len(particle.satiation)):
            particle.satiation[k] *= p.satiation_decay
        particle.patience -= p.patience_skip
        return math.log(max(logistic(-utility), 1e-12))
    likelihood = math.log(max(logistic(utility), 1e-12))
    noise_sd = particle.rating_scale * p.rating_noise
    opinion = mean_opinion(particle, affinity, p.rating_quality * item.quality, p)
    if rating > 0.0:
        likelihood += _log_probability_of_stars(opinion, noise_sd, rating, p)
    else:
        first, second = uniform_in(draws, 0), uniform_in(draws, 1)
        noise = math.sqrt(-2.0 * math.log(1.0 - first)) * math.cos(2.0 * math.pi * second)
        rating = stars(opinion + noise_sd * noise, p)
    if p.consumption_noise > 0.0:
        seen = min(max(consumption, 1e-9), 1.0 - 1e-9)
        mean = p.consumption_intercept + p.consumption_affinity * affinity + p.consumption_quality * item.quality
        deviation = (math.log(seen / (1.0 - seen)) - mean) / p.consumption_noise
        likelihood -= 0.5 * deviation * deviation
    promise = mean_opinion(particle, affinity, p.expectation_appeal * item.appeal, p)
    expectation = expected_stars(promise, noise_sd, p)
    for k in range(len(particle.satiation)):
        particle.satiation[k] *= p.satiation_decay
    change(particle, item, rating, expectation, consumption, p)
    return likelihood


@njit(cache=True)
def _draw_anew(particles, weights, scratch, key, step):
    """Systematic resampling with the weights [B], then a little noise on what never changes (Liu and West)."""
    num_particles = len(particles)
    draws = stream(key, step, Purpose.IMAGINATION)
    position, total, source = uniform_in(draws, 0) / num_particles, weights[0], 0
    for b in range(num_particles):
        while position > total and source < num_particles - 1:
            source += 1
            total += weights[source]
        scratch[b] = particles[source]
        position += 1.0 / num_particles
    keep, noise = _SHRINKAGE, math.sqrt(1.0 - _SHRINKAGE * _SHRINKAGE)
    for d in range(len(scratch[0].interests)):
        mean, squares = 0.0, 0.0
        for b in range(num_particles):
            mean += scratch[b].interests[d] / num_particles
            squares += scratch[b].interests[d] ** 2 / num_particles
        spread = math.sqrt(max(squares - mean * mean, 0.0))
        for b in range(num_particles):
            jitter = noise * spread * normal(key, step, Purpose.USER, 1 + b * 1_000 + d)
            scratch[b].interests[d] = keep * scratch[b].interests[d] + (1.0 - keep) * mean + jitter
    for b in range(num_particles):
        particles[b] = scratch[b]
        weights[b] = 1.0 / num_particles


@njit(cache=True, nogil=True)
def _filter(particles, weights, shown, feedback, is_news, scratch, items, parameters, key, step):
    """Take in the last answer of each session: reweigh its particles [N, B], and draw them anew when few count."""
    p = parameters[0]
    num_particles = particles.shape[1]
    logs = np.zeros(num_particles)
    for n in range(len(particles)):
        if not is_news[n]:
            continue
        draws = stream(key, step, Purpose.RATING)
        for b in range(num_particles):
            particle = particles[n, b]
            logs[b] = math.log(max(weights[n, b], 1e-300))
            own = np.uint64(draws + np.uint64(n * num_particles + b))
            logs[b] += take_in(particle, items[shown[n]], feedback[n, 0], feedback[n, 1], feedback[n, 2], own, p)
            if particle.patience <= 0.0:  # this one would have left
                logs[b] = -1e300
        largest = logs.max()
        total, squares = 0.0, 0.0
        for b in range(num_particles):
            weights[n, b] = math.exp(max(logs[b] - largest, -700.0))
            total += weights[n, b]
        for b in range(num_particles):
            weights[n, b] /= total
            squares += weights[n, b] ** 2
        if 1.0 / squares < 0.5 * num_particles:
            own_key = np.uint64(key + np.uint64(n))
            _draw_anew(particles[n], weights[n], scratch, own_key, step)


@njit(cache=True, nogil=True)
def _scores(particles, weights, candidates, items, parameters, care_for_trust, care_for_patience, out):
    """Fill `out` [N, M] with the mean foresight over each session's particles."""
    p = parameters[0]
    for n in range(len(particles)):
        for m in range(candidates.shape[1]):
            out[n, m] = 0.0
            if candidates[n, m] != NO_ITEM:
                for b in range(particles.shape[1]):
                    if weights[n, b] > 1e-6:
                        score = foresight(
                            particles[n, b], items[candidates[n, m]], p, care_for_trust, care_for_patience
                        )
                        out[n, m] += weights[n, b] * score


class ProfilePrior:
    """Who may be visiting, judging by the profile: a linear-Gaussian model of profiles given interests.

    atanh(profile) = interests W + c + e, fitted to `population` by least squares; a person of the population counts
    by the density of the visitor's profile. Binary profiles (demographics) are treated alike, which is crude.
    """

    def __init__(self, population: World) -> None:
        users = population.users
        known = np.arctanh(np.clip(users.profiles.astype(np.float64), -0.999, 0.999))
        design = np.column_stack([users.interests, np.ones(len(users))])
        coefficients = np.linalg.lstsq(design, known, rcond=None)[0]
        residuals = known - design @ coefficients
        self._scale = np.maximum(residuals.std(0), 0.05)
        self._predicted = design @ coefficients / self._scale

    def draw(self, profiles: np.ndarray, num_people: int, generator: np.random.Generator) -> np.ndarray:
        """[n, num_people] indices of people of the population, for each of the profiles [n, P]."""
        known = np.arctanh(np.clip(profiles.astype(np.float64), -0.999, 0.999)) / self._scale
        drawn = np.empty((len(profiles), num_people), np.int64)
        for n, own in enumerate(known):
            logs = -0.5 * ((own - self._predicted) ** 2).sum(1)
            weights = np.exp(logs - logs.max())
            edges = np.cumsum(weights / weights.sum())
            drawn[n] = np.minimum(np.searchsorted(edges, generator.random(num_people)), len(edges) - 1)
        return drawn


class BayesFilterPlayer(OneItemAgent):
    """Plays by the mean foresight over its belief. It knows items and dynamics, and of the person only what is seen.

    Args:
        population: the world whose people it expects; not the one it is evaluated in.
        care_for_trust: as for `ForesightOracle`.
        care_for_patience: as for `ForesightOracle`.
        num_particles: particles B for each session.
        num_threads: threads that share the scoring; 0 takes one for each core. It changes no number.
    """

    observation = "compact"

    def __init__(
        self,
        population: World,
        care_for_trust: float = 0.0,
        care_for_patience: float = 0.0,
        num_particles: int = 512,
        num_threads: int = 0,
    ) -> None:
        super().__init__(care_for_trust, care_for_patience)
        self._population, self._prior = population, ProfilePrior(population)
        self.num_particles, self.num_threads = num_particles, num_threads or os.cpu_count() or 1

    def begin(self, env: RecommenderVectorEnv, seed: int = 0) -> None:
        super().begin(env, seed)
        self._generator = np.random.default_rng(seed)
        self._key, self._step = np.uint64(self._generator.integers(2**63)), 0
        sessions, self._items, self._parameters = self._simulator.compiled_model()
        self._people = people_of(self._population, sessions)
        self._particles = np.zeros((self.num_sessions, self.num_particles), sessions.dtype)
        self._weights = np.zeros(self._particles.shape)
        self._scratch = np.zeros(self.num_particles, sessions.dtype)

    def act(self, observations: Observations, is_first: np.ndarray) -> np.ndarray:
        self._take_in(observations, ~is_first)
        if is_first.any():
            profiles = observations["user"][is_first, : -len(CONTEXT)]
            self._particles[is_first] = self._people[self._prior.draw(profiles, self.num_particles, self._generator)]
            self._weights[is_first] = 1.0 / self.num_particles
        candidates = observations["candidate_items"]
        scores = np.zeros(candidates.shape)
        care = self.care_for_trust, self.care_for_patience
        bounds = np.linspace(0, self.num_sessions, self.num_threads + 1).astype(int).tolist()

        def score(part: slice) -> None:
            belief = self._particles[part], self._weights[part]
            _scores(*belief, candidates[part], self._items, self._parameters, *care, scores[part])

        with ThreadPoolExecutor(self.num_threads) as pool:
            list(pool.map(score, [slice(a, b) for a, b in itertools.pairwise(bounds)]))
        return self.best(scores, observations["candidate_mask"])

    def _take_in(self, observations: Observations, is_under_way: np.ndarray) -> None:
        rows = observations["history_feedback"].reshape(self.num_sessions, -1, len(FEEDBACK))[:, 0].astype(np.float64)
        seen = {name: rows[:, column] for column, name in enumerate(FEEDBACK)}
        feedback = np.column_stack([seen["click"], seen["consumption"], np.rint(5.0 * seen["rating"])])
        is_news = is_under_way & (seen["shown"] > 0)
        shown = observations["history_items"][:, 0]
        self._step += 1
        belief = self._particles, self._weights
        _filter(*belief, shown, feedback, is_news, self._scratch, self._items, self._parameters, self._key, self._step)
