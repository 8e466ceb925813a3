"""Simulated users who visit a server, in its process.

Shape legend: N users side by side, S slots of a slate.
"""

import asyncio
from typing import Any

import numpy as np

from agents.large_model.serving.observations import UNITS
from agents.large_model.serving.recommender import Recommender
from agents.large_model.serving.requests import Feedback, ItemFeedback, NewSession, RecommendationRequest
from agents.networks.schema import user_names
from recsim_env.envs.vector import last_observations
from recsim_env.simulation.observation import FEEDBACK
from recsim_env.simulation.records import HISTORY_FEEDBACK, NO_ITEM

WITHOUT_ARRIVALS = {"population": {"warm_share": 0.0}, "catalog": {"arrivals_per_step": 0.0}}
"""Overrides of a scenario: a server knows neither what users did elsewhere, nor how the platform's time goes on."""


async def visit(recommender: Recommender, env: Any, seed: int, name: str) -> np.ndarray:
    """One session of each user of a vector env with compact observations, whose items are those of the server.

    The env has the overrides `WITHOUT_ARRIVALS`; the server recommends among its candidates. People are called
    `NAME-0`, `NAME-1` and so on.

    Returns:
        [N] float64: the sum of each session's rewards.
    """
    config, ids = env.simulator.config, recommender.catalog.ids
    observations, _ = env.reset(seed=seed)
    profile = dict(enumerate(user_names(env.simulator)))
    known = set(recommender.catalog.observations.profile_names)
    profiles = [
        {profile[column]: float(value) for column, value in enumerate(row) if profile[column] in known}
        for row in observations["user"]
    ]
    sessions = await asyncio.gather(
        *(
            recommender.create_session(NewSession(person=f"{name}-{lane}", profile=each))
            for lane, each in enumerate(profiles)
        )
    )
    returns, is_running = np.zeros(env.num_envs), np.ones(env.num_envs, np.bool_)
    while is_running.any():
        lanes = np.flatnonzero(is_running).tolist()
        candidates = observations["candidate_items"]

        async def recommended(lane: int, row: np.ndarray) -> Any:
            request = RecommendationRequest(candidates=[ids[item] for item in row[row != NO_ITEM].tolist()])
            return await recommender.recommend(sessions[lane].session, request)

        slates = await asyncio.gather(*(recommended(lane, candidates[lane]) for lane in lanes))
        actions = np.zeros((env.num_envs, config.slate_size), np.int64)
        for lane, slate in zip(lanes, slates, strict=True):
            shown = [ids.position("item", each.item) for each in slate.items]
            places = [int(np.flatnonzero(candidates[lane] == item)[0]) for item in shown]
            missing = [place for place in range(candidates.shape[1]) if place not in places]
            actions[lane] = (places + missing)[: config.slate_size]
        observations, rewards, terminated, truncated, infos = env.step(
            actions[:, 0] if config.slate_size == 1 else actions
        )
        returns += np.where(is_running, rewards, 0.0)
        last = last_observations(observations, infos)
        answers = [
            Feedback(recommendation=slate.recommendation, items=_answers(last, lane, slate.items, ids))
            for lane, slate in zip(lanes, slates, strict=True)
        ]
        await asyncio.gather(
            *(recommender.add_feedback(sessions[lane].session, each) for lane, each in zip(lanes, answers, strict=True))
        )
        is_running &= ~(terminated | truncated)
    return returns


def _answers(observations: dict[str, np.ndarray], lane: int, shown: list[Any], ids: Any) -> list[ItemFeedback]:
    """The feedback to the newest rows of a history, which are those of the slate that was shown."""
    rows = observations["history_feedback"][lane].reshape(-1, len(FEEDBACK))[: len(shown), 1:] * UNITS
    found = []
    for item, row in zip(observations["history_items"][lane].tolist(), rows, strict=False):
        values = dict(zip(HISTORY_FEEDBACK, row.tolist(), strict=True))
        found.append(
            ItemFeedback(
                item=ids[item],
                click=values["click"] > 0.0,
                consumption=min(max(values["consumption"], 0.0), 1.0),
                rating=round(values["rating"], 4),
                purchase=values["purchase"] > 0.0,
                follow=round(values["follow"]),
            )
        )
    return found
