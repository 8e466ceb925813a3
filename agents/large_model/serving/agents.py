"""The agents that recommend, and how they compare in a blind session."""

from collections.abc import Sequence

import numpy as np

from agents.large_model.serving.database_file import ANSWER_COLUMNS
from agents.large_model.serving.requests import AgentName, AgentResult

LARGE_MODEL: AgentName = "large-model"
PLATFORM: AgentName = "platform"
"""The platform's ranking: the predicted answer, first of `observation.RELEVANCE_COLUMNS`."""
BLIND = "blind"

SESSION_AGENTS: dict[str, tuple[AgentName, ...]] = {
    LARGE_MODEL: (LARGE_MODEL,),
    PLATFORM: (PLATFORM,),
    BLIND: (LARGE_MODEL, PLATFORM),
}
"""The agents of a session, one of which is drawn for each recommendation."""

_CLICK, _RATING = ANSWER_COLUMNS.index("click"), ANSWER_COLUMNS.index("rating")


def result_of(answers: Sequence[np.ndarray]) -> AgentResult:
    """The result of an agent, from the `ANSWER_COLUMNS` [S, 5] of each of its slates."""
    rows = np.concatenate([np.zeros((0, len(ANSWER_COLUMNS))), *answers])
    clicks, ratings = rows[:, _CLICK], rows[rows[:, _RATING] > 0.0, _RATING]
    return AgentResult(
        recommendations=len(answers),
        items=len(rows),
        clicks=int(clicks.sum()),
        click_rate=float(clicks.mean()) if len(clicks) else None,
        ratings=len(ratings),
        mean_rating=float(ratings.mean()) if len(ratings) else None,
    )


def caveat_of(results: Sequence[AgentResult]) -> str:
    """How far the difference between agents can be trusted."""
    numbers = " and ".join(str(result.recommendations) for result in results)
    return f"These are one person's answers to {numbers} recommendations: chance alone may explain a difference."
