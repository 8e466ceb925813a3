"""Knows the world but not the person: keeps a belief about who is visiting, and shows what is best under it.

A particle filter (Gordon, Salmond and Smith, 1993) over the user's latent state, regularised as by Liu and West,
"Combined parameter and state estimation in simulation-based filtering", 2001. The reference for what an agent can
reach at all.

Shape legend: N sessions, B particles (beliefs) of each, M candidates, D interest factors, P profile features.
"""

import math
import os
from typing import Any

import numpy as np
from numba import njit

from agents.agent import Agent, Env, NotFittedError, Observations
from agents.references.lookahead import LookaheadOracle, lookahead, sample_of
from agents.references.value_weights import ModelBasedReference, ValueWeights
from recsim_env.simulation.batch_threads import BatchThreads
from recsim_env.simulation.observation import CONTEXT, FEEDBACK
from recsim_env.simulation.random_streams import Purpose, combine, normal, stream, uniform_in
from recsim_env.simulation.records import NO_ITEM, as_records
from recsim_env.simulation.user_model import (
    anticipated_rating,
    change,
    choice_utility,
    consumption_logit,
    decay,
    draw_rating,
    effective_affinity,
    init_visit,
    logistic,
    mean_opinion,
    purchase_probability,
    skip,
)
from recsim_env.world.world import World

_MOOD_MISMATCH = -2.0
"""Log-likelihood of a particle whose mood is not the one that shows; soft, as moods of particles change by chance."""

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
def take_in(particle, item, answer, p):
    """Log-likelihood of an answer for one particle, whose state then changes as the user's did.

    `answer` is a row of feedback with the columns `FEEDBACK[2:]`, in the units of a session's history. A rating that
    was not submitted is drawn, with the particle's own noise.
    """
    click, consumption, rating, purchase, follow = answer[0], answer[1], answer[2], answer[3], answer[4]
    affinity = effective_affinity(particle, item, p)
    utility = choice_utility(particle, item, affinity, p)
    if click == 0.0:
        decay(particle, p)
        skip(particle, p)
        particle.step += 1
        return math.log(max(logistic(-utility), 1e-12))
    likelihood = math.log(max(logistic(utility), 1e-12))
    if p.consumption_noise > 0.0:
        seen = min(max(consumption, 1e-9), 1.0 - 1e-9)
        deviation = (math.log(seen / (1.0 - seen)) - consumption_logit(item, affinity, p)) / p.consumption_noise
        likelihood -= 0.5 * deviation * deviation
    if p.is_shop:
        chance = purchase_probability(particle, item, affinity, p)
        likelihood += math.log(max(chance if purchase > 0.0 else 1.0 - chance, 1e-12))
    expectation = 0.0
    if not p.is_shop or purchase > 0.0:
        expectation = anticipated_rating(particle, item, affinity, p)
        if rating > 0.0:
            noise_sd = particle.rating_scale * p.rating_noise
            opinion = mean_opinion(particle, affinity, p.rating_quality * item.quality, p)
            likelihood += _log_probability_of_stars(opinion, noise_sd, rating, p)
        else:
            rating = draw_rating(particle, item, affinity, p)
    decay(particle, p)
    change(particle, item, rating, expectation, consumption, purchase, follow, p)
    particle.step += 1
    return likelihood


@njit(cache=True)
def _draw_anew(particles, weights, scratch, key, step):
    """Systematic resampling with the weights [B], then a little noise on what never changes (Liu and West)."""
    num_particles = len(particles)
    draws = stream(key, step, Purpose.PLANNING)
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
        particles[b].noise_key = combine(key + np.uint64(step), b)
        weights[b] = 1.0 / num_particles


@njit(cache=True)
def _reweigh(particles, weights, logs):
    """Add `logs` [B] to the logarithms of the weights [B]; returns the number of particles that still count."""
    largest = logs.max()
    total, squares = 0.0, 0.0
    for b in range(len(particles)):
        weights[b] = math.exp(max(logs[b] - largest, -700.0))
        total += weights[b]
    for b in range(len(particles)):
        weights[b] /= total
        squares += weights[b] ** 2
    return 1.0 / squares


@njit(cache=True, nogil=True)
def _filter(particles, weights, shown, answers, moods, is_news, has_stayed, scratch, items, parameters, key, step):
    """Take in an answer of each session: reweigh its particles [N, B], and draw them anew when few count.

    `has_stayed`: the person could have left after the answer, and has not.
    """
    p = parameters[0]
    num_particles = particles.shape[1]
    logs = np.zeros(num_particles)
    for n in range(len(particles)):
        if not is_news[n]:
            continue
        for b in range(num_particles):
            particle = particles[n, b]
            logs[b] = math.log(max(weights[n, b], 1e-300)) + take_in(particle, items[shown[n]], answers[n], p)
            if moods[n] >= 0 and particle.seen_mood != moods[n]:
                logs[b] += _MOOD_MISMATCH
            if has_stayed and particle.patience <= 0.0:  # this one would have left
                logs[b] = -1e300
        if _reweigh(particles[n], weights[n], logs) < 0.5 * num_particles:
            own_key = np.uint64(key + np.uint64(n))
            _draw_anew(particles[n], weights[n], scratch, own_key, step)


@njit(cache=True, nogil=True)
def _come_back(particles, users, times, is_back, parameters):
    """After its logged history each session's user begins a visit, at that time."""
    for n in range(len(particles)):
        if is_back[n]:
            for b in range(particles.shape[1]):
                particle = particles[n, b]
                init_visit(particle, users[particle.user], parameters[0])
                particle.step = 0
                particle.start_step = times[n]


@njit(cache=True, nogil=True)
def _scores(particles, weights, candidates, items, parameters, value_weights, out):
    """Fill `out` [N, M] with the mean foresight over each session's particles."""
    p = parameters[0]
    for n in range(len(particles)):
        for m in range(candidates.shape[1]):
            out[n, m] = 0.0
            if candidates[n, m] != NO_ITEM:
                for b in range(particles.shape[1]):
                    if weights[n, b] > 1e-6:
                        out[n, m] += weights[n, b] * lookahead(
                            particles[n, b], items[candidates[n, m]], p, value_weights
                        )


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


class BayesFilter(ModelBasedReference):
    """Plays by the mean foresight over its belief. It knows items and dynamics, and of the person only what is seen.

    Its care is that of the foresight oracle.

    Args:
        num_particles: particles B for each session.
        num_threads: threads that share the scoring; 0 takes one for each core. It changes no number.
        reads_history: False goes by the profile alone, each step as if nothing had been shown yet.
        others: as for `ModelBasedReference`; the population is not the one it is evaluated in.
    """

    observation = "compact"

    def __init__(
        self, *, num_particles: int = 512, num_threads: int = 0, reads_history: bool = True, **others: Any
    ) -> None:
        super().__init__(**others)
        self.num_particles, self.num_threads = num_particles, num_threads or os.cpu_count() or 1
        self.reads_history = reads_history

    def trial(self, value_weights: ValueWeights) -> Agent:
        return LookaheadOracle(value_weights=value_weights)

    def begin(self, env: Env, seed: int = 0) -> None:
        super().begin(env, seed)
        if self.population is None:
            raise NotFittedError
        self._prior = ProfilePrior(self.population)
        self._generator = np.random.default_rng(seed)
        self._key, self._step = np.uint64(self._generator.integers(2**63)), 0
        _, _, self._parameters = self._simulator.compiled_model()
        self._items = as_records(self.known_items(env))
        self._users = as_records(self.population.user_records)
        everyone = np.arange(len(self.population.users))
        self._people = sample_of(self.population, everyone, self._generator)
        size = self.num_sessions, self.num_particles
        self._particles = as_records(np.zeros(size, self._people.dtype))
        self._scratch = as_records(np.zeros(self.num_particles, self._people.dtype))
        self._weights = np.zeros(size)

    def known_items(self, env: Env) -> np.ndarray:
        """[I] records: what it takes the items to be."""
        return env.unwrapped.simulator.world.item_records

    def places(self, items: np.ndarray, times: np.ndarray) -> np.ndarray:
        """[N, k] int64: where items [N, k], at platform times [N, k] or [N, 1], stand in `known_items`; `NO_ITEM`
        where they are missing."""
        return items

    def act(self, observations: Observations, is_first: np.ndarray) -> np.ndarray:
        times, num_features = observations["time"], self.layout.num_profile_features
        back = np.arange(observations["history_items"].shape[1])
        items = self.places(observations["history_items"], times - 1 - back)
        rows = observations["history_feedback"].reshape(self.num_sessions, -1, len(FEEDBACK)).astype(np.float64)
        if not self.reads_history:
            rows, is_first = np.zeros_like(rows), np.ones_like(is_first)
        answers = rows[:, :, 2:]
        answers[:, :, 2] = np.rint(5.0 * answers[:, :, 2])
        shown_moods = observations["user"][:, num_features + len(CONTEXT) :]
        moods = np.full(self.num_sessions, -1)
        if shown_moods.shape[1]:
            moods = np.where(shown_moods.any(1), shown_moods.argmax(1), -1)
        self._take_in(items[:, 0], answers[:, 0], moods, ~is_first & (rows[:, 0, 0] > 0), has_stayed=True)
        if is_first.any():
            self._welcome(observations, items, answers, is_first, rows[:, :, 0] > 0)
        candidates = self.places(observations["candidate_items"], times)
        scores = np.zeros(candidates.shape)

        mean_foresight = self._simulator.adapted(_scores)

        def score(part: slice) -> None:
            belief = self._particles[part], self._weights[part]
            mean_foresight(
                *belief, candidates[part], self._items, self._parameters, self.value_weights.weights(), scores[part]
            )

        with BatchThreads(self.num_sessions, self.num_threads) as threads:
            threads.run(score)
        return self.best(scores, candidates != NO_ITEM)

    def _welcome(self, observations, items, answers, is_first, is_row) -> None:
        """Draw particles for new sessions, and take in the logged history of those who bring one."""
        profiles = observations["user"][is_first, : self.layout.num_profile_features]
        people = self._prior.draw(profiles, self.num_particles, self._generator)
        self._particles[is_first] = self._people[people]
        self._particles["noise_key"][is_first] = self._generator.integers(2**63, size=people.shape).astype(np.uint64)
        self._weights[is_first] = 1.0 / self.num_particles
        times = observations["time"][:, 0]
        unknown = np.full(self.num_sessions, -1)
        for back in range(is_row.shape[1] - 1, -1, -1):
            is_news = is_first & is_row[:, back]
            if is_news.any():
                self._particles["start_step"][is_news] = (times[is_news] - back - 1)[:, None]
                self._particles["step"][is_news] = 0
                # Nobody leaves a log: patience that was spent in it says nothing.
                self._take_in(items[:, back], answers[:, back], unknown, is_news, has_stayed=False)
        self._simulator.adapted(_come_back)(self._particles, self._users, times, is_first, self._parameters)

    def _take_in(self, shown, answers, moods, is_news, has_stayed) -> None:
        if is_news.any():
            self._step += 1
            belief, model = (self._particles, self._weights), (self._items, self._parameters)
            self._simulator.adapted(_filter)(
                *belief, shown, answers, moods, is_news, has_stayed, self._scratch, *model, self._key, self._step
            )
