"""The Bayes filter: knows the items and the user model, and infers the user's latent state from feedback.

A particle filter (Gordon, Salmond and Smith, 1993) over the user's latent state, regularised as by Liu and West,
"Combined parameter and state estimation in simulation-based filtering", 2001. A reference for agents that observe what
deployed agents observe of users.

Shape legend: N sessions, B particles of each, M candidates, H rows of the history, D interest factors, P profile
features.
"""

import math
import os
from dataclasses import dataclass

import numpy as np

from agents.agent import Agent, NotFittedError, Observations
from agents.references.lookahead import LookaheadOracle, first_sessions, lookahead
from agents.references.value_weights import ModelBasedReference, ValueWeights
from recsim_env.config import count, flag
from recsim_env.simulation.batch_threads import BatchThreads
from recsim_env.simulation.compilation import compiled, kernel
from recsim_env.simulation.observation import CONTEXT, FEEDBACK, VISIT_CONTEXT
from recsim_env.simulation.random_streams import Purpose, combine, normal, stream, uniform_in
from recsim_env.simulation.rating_scale import level_of, level_probability_of
from recsim_env.simulation.record_types import as_bytes
from recsim_env.simulation.records import ITEM, NO_ITEM, PARAMETERS, SESSION, USER, make_layout
from recsim_env.simulation.user_model import (
    anticipated_rating,
    change,
    choice_utility,
    consumption_logit,
    decay,
    draw_rating,
    effective_affinity,
    end_visit,
    init_visit,
    logistic,
    mean_opinion,
    purchase_probability,
    return_after,
    return_hazard,
    skip,
)
from recsim_env.world.world import World

_PLACE, _RATING = FEEDBACK.index("slot"), FEEDBACK.index("rating")
"""Columns of rows of the history; the slot makes room for the item's place in `Belief.items`."""

_MOOD_MISMATCH = -2.0
"""Log-likelihood of a particle in another mood than the observed one; finite, as particles' moods are random."""

_SHRINKAGE = 0.98
"""Of particles towards their mean in resampling; noise restores the variance."""


@compiled
def log_rating_probability(opinion, noise_sd, rating, p):
    """log P(rating) of an opinion with Gaussian noise, at least log 1e-12."""
    return math.log(max(level_probability_of(level_of(rating, p), opinion, noise_sd, p), 1e-12))


@compiled
def update_particle(particle, item, feedback, p):
    """Advance a particle by one step of the user model, given the feedback; returns the feedback's log-likelihood.

    `feedback` is a row with the columns `FEEDBACK[2:]`, ratings in their own units. A rating that was not submitted
    is drawn, with the particle's own noise.
    """
    particle.num_choices = 0
    click, consumption, rating, purchase, follow = feedback[0], feedback[1], feedback[2], feedback[3], feedback[4]
    affinity = effective_affinity(particle, item, p)
    utility = choice_utility(particle, item, affinity, p)
    if click == 0.0:
        decay(particle, p)
        skip(particle, p)
        particle.step += 1
        return math.log(max(logistic(-utility), 1e-12))
    likelihood = math.log(max(logistic(utility), 1e-12))
    if p.consumption_noise > 0.0:
        share = min(max(consumption, 1e-9), 1.0 - 1e-9)
        deviation = (math.log(share / (1.0 - share)) - consumption_logit(item, affinity, p)) / p.consumption_noise
        likelihood -= 0.5 * deviation * deviation
    if p.is_shop:
        probability = purchase_probability(particle, item, affinity, p)
        likelihood += math.log(max(probability if purchase > 0.0 else 1.0 - probability, 1e-12))
    expectation = 0.0
    if not p.is_shop or purchase > 0.0:
        expectation = anticipated_rating(particle, item, affinity, p)
        if rating > 0.0:
            noise_sd = particle.rating_scale * p.rating_noise
            opinion = mean_opinion(particle, affinity, p.rating_quality * item.quality, p)
            likelihood += log_rating_probability(opinion, noise_sd, rating, p)
        else:
            rating = draw_rating(particle, item, affinity, p)
    decay(particle, p)
    change(particle, item, rating, expectation, consumption, purchase, follow, p)
    particle.step += 1
    return likelihood


@compiled
def _resample(particles, first, weights, scratch, key, step):
    """Systematic resampling of the particles from `first` with the weights [B], then shrinkage and noise of the
    interests (Liu and West)."""
    num_particles = len(weights)
    draws = stream(key, step, Purpose.PLANNING)
    position, total, source = uniform_in(draws, 0) / num_particles, weights[0], 0
    for b in range(num_particles):
        while position > total and source < num_particles - 1:
            source += 1
            total += weights[source]
        scratch[b] = particles[first + source]
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
        particles[first + b] = scratch[b]
        particles[first + b].noise_key = combine(key + np.uint64(step), b)
        weights[b] = 1.0 / num_particles


@compiled
def _normalise(weights, logs):
    """Set the weights [B] from their logarithms; returns the effective number of particles."""
    largest, total, squares = -math.inf, 0.0, 0.0
    for b in range(len(weights)):
        largest = max(largest, logs[b])
    for b in range(len(weights)):
        weights[b] = math.exp(max(logs[b] - largest, -700.0))
        total += weights[b]
    for b in range(len(weights)):
        weights[b] /= total
        squares += weights[b] ** 2
    return 1.0 / squares


@kernel
def _filter(particles, items, parameters, layout, weights, rows, moods, is_new, has_stayed, scratch, key, step):
    """Update the particles [N * B] of the sessions `is_new` by one row each; resample where few of them count.

    `rows` [N, 7] are as `BayesFilter._history` returns them. `has_stayed`: the user could have left after the feedback,
    and has not.
    """
    particles, scratch = SESSION(particles, layout), SESSION(scratch, layout)
    items, p = ITEM(items, layout), PARAMETERS(parameters, layout)[0]
    num_particles = weights.shape[1]
    logs = np.zeros(num_particles)
    for n in range(len(weights)):
        if not is_new[n]:
            continue
        first = n * num_particles
        for b in range(num_particles):
            particle, item = particles[first + b], items[int(rows[n, _PLACE])]
            logs[b] = math.log(max(weights[n, b], 1e-300)) + update_particle(particle, item, rows[n, 2:], p)
            if moods[n] >= 0 and particle.seen_mood != moods[n]:
                logs[b] += _MOOD_MISMATCH
            if has_stayed and particle.patience <= 0.0:  # such a user would have left
                logs[b] = -1e300
        if _normalise(weights[n], logs) < 0.5 * num_particles:
            own_key = np.uint64(key + np.uint64(n))
            _resample(particles, first, weights[n], scratch, own_key, step)


@kernel
def _start_visits(particles, items, parameters, layout, users, times, is_first):
    """After the logged history, start the visits `is_first` at these platform times."""
    particles, users = SESSION(particles, layout), USER(users, layout)
    p, num_particles = PARAMETERS(parameters, layout)[0], len(particles) // len(is_first)
    for n in range(len(is_first)):
        if is_first[n]:
            for b in range(num_particles):
                particle = particles[n * num_particles + b]
                init_visit(particle, users[particle.user], p)
                particle.step = 0
                particle.start_step = times[n]


@kernel
def _return(particles, items, parameters, layout, weights, has_returned, absences, scratch, key, step):
    """Update the particles of the sessions `has_returned` by the absence before the visit, in days."""
    particles, scratch = SESSION(particles, layout), SESSION(scratch, layout)
    p, num_particles = PARAMETERS(parameters, layout)[0], weights.shape[1]
    logs = np.zeros(num_particles)
    for n in range(len(weights)):
        if not has_returned[n]:
            continue
        for b in range(num_particles):
            particle = particles[n * num_particles + b]
            end_visit(particle, p)
            rate = return_hazard(particle, p)
            logs[b] = math.log(max(weights[n, b], 1e-300)) + math.log(rate) - rate * absences[n]
            return_after(particle, absences[n], p)
        if _normalise(weights[n], logs) < 0.5 * num_particles:
            _resample(particles, n * num_particles, weights[n], scratch, np.uint64(key + np.uint64(n)), step)


@kernel
def _scores(particles, items, parameters, layout, weights, candidates, value_weights, out):
    """Fill `out` [N, M] with the mean lookahead score over each session's particles."""
    particles, items, p = SESSION(particles, layout), ITEM(items, layout), PARAMETERS(parameters, layout)[0]
    num_particles = weights.shape[1]
    for n in range(len(weights)):
        for m in range(candidates.shape[1]):
            out[n, m] = 0.0
            if candidates[n, m] != NO_ITEM:
                for b in range(num_particles):
                    if weights[n, b] > 1e-6:
                        particle = particles[n * num_particles + b]
                        out[n, m] += weights[n, b] * lookahead(particle, items[candidates[n, m]], p, value_weights)


class ProfilePrior:
    """Which users of a population fit a profile: a linear-Gaussian model of profiles given interests.

    atanh(profile) = interests W + c + e, fitted to `population` by least squares; a user of the population has the
    weight of the density of the observed profile. Binary features (demographics) are treated alike, which is crude.
    """

    def __init__(self, population: World) -> None:
        users = population.users
        profiles = np.arctanh(np.clip(users.profiles.astype(np.float64), -0.999, 0.999))
        design = np.column_stack([users.interests, np.ones(len(users))])
        coefficients = np.linalg.lstsq(design, profiles, rcond=None)[0]
        residuals = profiles - design @ coefficients
        self._scale = np.maximum(residuals.std(0), 0.05)
        self._predicted = design @ coefficients / self._scale

    def sample(self, profiles: np.ndarray, size: int, generator: np.random.Generator) -> np.ndarray:
        """[n, size] indices of users of the population, for each of the profiles [n, P]."""
        scaled = np.arctanh(np.clip(profiles.astype(np.float64), -0.999, 0.999)) / self._scale
        users = np.empty((len(profiles), size), np.int64)
        for n, row in enumerate(scaled):
            logs = -0.5 * ((row - self._predicted) ** 2).sum(1)
            weights = np.exp(logs - logs.max())
            edges = np.cumsum(weights / weights.sum())
            users[n] = np.minimum(np.searchsorted(edges, generator.random(size)), len(edges) - 1)
        return users


@dataclass
class Belief:
    """Weighted particles of N sessions, and the model that they are updated by."""

    generator: np.random.Generator
    key: np.uint64
    prior: ProfilePrior
    items: np.ndarray
    """[I] records: assumed items."""
    parameters: np.ndarray
    """[1] record."""
    layout: np.ndarray
    """Layout of all records, for compiled code."""
    users: np.ndarray
    """[U] records of the population."""
    first_sessions: np.ndarray
    """[U] records: each user of the population before the first step."""
    particles: np.ndarray
    """[N, B] session records."""
    weights: np.ndarray
    """[N, B] float64."""
    step: int = 0

    @property
    def num_sessions(self) -> int:
        """N."""
        return len(self.particles)

    def compiled_model(self, sessions: slice = slice(None)) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Particles [N * B] of these sessions, items, parameters and layout, for compiled code."""
        particles = as_bytes(self.particles[sessions].reshape(-1))
        return particles, as_bytes(self.items), as_bytes(self.parameters), self.layout


@dataclass(kw_only=True, eq=False, repr=False)
class BayesFilter(ModelBasedReference):
    """Shows the candidate with the highest mean lookahead score over a belief about the user.

    It knows the items and the user model; of the user it observes what agents observe. The value weights are those of
    the lookahead oracle.
    """

    num_particles: int = count(512, 1, 1_000_000)
    """Particles B of each session."""
    num_threads: int = count(0, 0, 4_096)
    """Threads that share the scoring; 0 takes one for each core. It changes no result."""
    reads_history: bool = flag(True)
    """False for a belief from the profile alone, in each step."""

    state_class = Belief

    def with_weights(self, value_weights: ValueWeights) -> Agent:
        return LookaheadOracle(value_weights=value_weights)

    def assumed_items(self) -> np.ndarray:
        """[I] records: the items as this reference knows them."""
        return self.env.simulator.world.item_records

    def item_places(self, items: np.ndarray, times: np.ndarray) -> np.ndarray:
        """[N, k] int64: places in `assumed_items` of items [N, k] at platform times [N, k] or [N, 1].

        `NO_ITEM` where an item is missing.
        """
        return items

    def initial_state(self, num_sessions: int) -> Belief:
        if self.population is None:
            raise NotFittedError
        generator, simulator = self.new_generator(), self.env.simulator
        key = np.uint64(generator.integers(2**63))
        users = first_sessions(self.population, np.arange(len(self.population.users)), generator)
        return Belief(
            generator=generator,
            key=key,
            prior=ProfilePrior(self.population),
            items=self.assumed_items(),
            parameters=simulator.parameters,
            layout=make_layout(simulator.world.sizes),
            users=self.population.user_records,
            first_sessions=users,
            particles=np.zeros((num_sessions, self.num_particles), users.dtype),
            weights=np.zeros((num_sessions, self.num_particles)),
        )

    def act(
        self, observations: Observations, state: Belief, episode_start: np.ndarray, deterministic: bool
    ) -> np.ndarray:
        times, num_sessions = observations["time"], len(episode_start)
        history = self._history(observations)
        is_first = episode_start if self.reads_history else np.ones_like(episode_start)
        observed_moods = observations["user"][:, self.layout.num_profile_features + self.layout.context_size :]
        moods = np.full(num_sessions, -1)
        if observed_moods.shape[1]:
            moods = np.where(observed_moods.any(1), observed_moods.argmax(1), -1)
        self._update(
            state, history[:, 0], moods, ~is_first & (history[:, 0, 0] > 0), has_stayed=not self.layout.is_lifetime
        )
        if self.layout.is_lifetime:
            self._update_visits(state, observations, ~is_first)
        if is_first.any():
            self._start(state, observations, history, is_first)
        candidates = self.item_places(observations["candidate_items"], times)
        scores, mean_scores = np.zeros(candidates.shape), self.env.simulator.adapted(_scores)

        def score(part: slice) -> None:
            belief = *state.compiled_model(part), state.weights[part]
            mean_scores(*belief, candidates[part], self.value_weights.as_array(), scores[part])

        with BatchThreads(num_sessions, self.num_threads or os.cpu_count() or 1) as threads:
            threads.run(score)
        return self.top_candidates(scores, candidates != NO_ITEM)

    def _update_visits(self, state: Belief, observations: Observations, goes_on: np.ndarray) -> None:
        """Update the belief where a visit has ended and the user is back."""
        start = self.layout.num_profile_features + len(CONTEXT)
        context = dict(zip(VISIT_CONTEXT, observations["user"][:, start:].T, strict=False))
        has_returned = goes_on & (context["visit_elapsed"] == 0.0)
        if has_returned.any():
            state.step += 1
            absences = np.exp2(8.0 * context["absence"].astype(np.float64)) - 1.0
            scratch, update = np.zeros_like(state.particles[0]), self.env.simulator.adapted(_return)
            belief = *state.compiled_model(), state.weights
            update(*belief, has_returned, absences, as_bytes(scratch), state.key, state.step)
        state.particles["start_step"] = observations["time"] - state.particles["step"]

    def _history(self, observations: Observations) -> np.ndarray:
        """[N, H, 7] float64: histories, most recent row first, with columns as in `FEEDBACK`, but with the place in
        `assumed_items` instead of the slot, and ratings in their own units."""
        ids = observations["history_items"]
        rows = observations["history_feedback"].reshape(*ids.shape, len(FEEDBACK)).astype(np.float64)
        if not self.reads_history:
            rows = np.zeros_like(rows)
        rows[:, :, _PLACE] = self.item_places(ids, observations["time"] - 1 - np.arange(ids.shape[1]))
        levels = np.array((0.0, *self.env.simulator.world.scenario.behaviour.rating_levels))
        # Observations are float32: the nearest of the ratings there are, or 0 without one.
        rows[:, :, _RATING] = levels[np.abs(5.0 * rows[:, :, _RATING, None] - levels).argmin(-1)]
        return rows

    def _start(self, state: Belief, observations: Observations, history: np.ndarray, is_first: np.ndarray) -> None:
        """Draw particles of new sessions from the prior, and update them by the logged histories of warm users."""
        profiles = observations["user"][is_first, : self.layout.num_profile_features]
        users = state.prior.sample(profiles, self.num_particles, state.generator)
        state.particles[is_first] = state.first_sessions[users]
        keys = state.generator.integers(2**63, size=users.shape).astype(np.uint64)
        state.particles["noise_key"][is_first] = keys
        state.weights[is_first] = 1.0 / self.num_particles
        times = observations["time"][:, 0]
        unobserved = np.full(len(is_first), -1)
        is_new = is_first[:, None] & (history[:, :, 0] > 0)
        for back in np.flatnonzero(is_new.any(0))[::-1]:
            lanes = is_new[:, back]
            state.particles["start_step"][lanes] = (times[lanes] - back - 1)[:, None]
            state.particles["step"][lanes] = 0
            # Users do not leave within a log: patience spent in it is no evidence.
            self._update(state, history[:, back], unobserved, lanes, has_stayed=False)
        start_visits = self.env.simulator.adapted(_start_visits)
        start_visits(*state.compiled_model(), as_bytes(state.users), times, is_first)

    def _update(self, state: Belief, rows: np.ndarray, moods: np.ndarray, is_new: np.ndarray, has_stayed: bool) -> None:
        """Update the sessions `is_new` by one row of their histories."""
        if is_new.any():
            state.step += 1
            scratch, update = np.zeros_like(state.particles[0]), self.env.simulator.adapted(_filter)
            update(
                *state.compiled_model(),
                state.weights,
                rows,
                moods,
                is_new,
                has_stayed,
                as_bytes(scratch),
                state.key,
                state.step,
            )
