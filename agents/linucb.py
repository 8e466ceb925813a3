"""LinUCB on content features: a bandit that learns each visitor from nothing, within the session.

Li, Chu, Langford and Schapire, "A contextual-bandit approach to personalized news article recommendation", WWW 2010,
Algorithm 1, with one linear model for each session shared by all items, as content takes the place of arms.

Shape legend: N sessions, M candidates, S slots, F content features, d = F + 1 (content and a constant).
"""

import numpy as np

from agents.agent import Agent, Observations
from recsim_env.observation import FEEDBACK
from recsim_env.vector_env import RecommenderVectorEnv

_UNRATED_STARS = 3.0


class LinUCB(Agent):
    """Shows argmax_i x_i' theta + alpha sqrt(x_i' A^-1 x_i), with A = ridge I + sum x x' and theta = A^-1 sum r x.

    r is the stars given to a shown item, 0 if it was skipped, and 3 if it was consumed but not rated.
    """

    def __init__(self, alpha: float = 1.0, ridge: float = 1.0) -> None:
        self.alpha, self.ridge = alpha, ridge

    def begin(self, env: RecommenderVectorEnv, seed: int = 0) -> None:
        super().begin(env, seed)
        self._size = self.layout.num_content_features + 1
        self._inverse = np.zeros((self.num_sessions, self._size, self._size))
        self._targets = np.zeros((self.num_sessions, self._size))

    def act(self, observations: Observations, is_first: np.ndarray) -> np.ndarray:
        self._inverse[is_first] = np.eye(self._size) / self.ridge
        self._targets[is_first] = 0.0
        self._learn_last_slate(self.history(observations), ~is_first)
        contents = self._with_constant(self.candidates(observations)[:, :, : self._size - 1])
        theta = np.einsum("nij,nj->ni", self._inverse, self._targets)
        projected = contents @ self._inverse  # [N, M, d]
        variance = np.maximum((projected * contents).sum(2), 0.0)
        scores = np.einsum("nmd,nd->nm", contents, theta) + self.alpha * np.sqrt(variance)
        return self.best(scores, observations["candidate_mask"])

    def _learn_last_slate(self, history: np.ndarray, is_under_way: np.ndarray) -> None:
        """Take in the rows of the history that the last step added: the most recent run of rising slots."""
        feedback = {name: history[:, :, self._size - 1 + k] for k, name in enumerate(FEEDBACK)}
        is_new = is_under_way & (feedback["shown"][:, 0] > 0)
        for row in range(min(self.slate_size, history.shape[1])):
            if row > 0:  # slots fall as one goes back within a slate
                goes_on = feedback["slot"][:, row] < feedback["slot"][:, row - 1]
                is_new = is_new & goes_on & (feedback["shown"][:, row] > 0)
            stars = 5.0 * feedback["rating"][:, row]
            stars = np.where((feedback["click"][:, row] > 0) & (stars == 0.0), _UNRATED_STARS, stars)
            self._update(self._with_constant(history[:, row, : self._size - 1]), stars, is_new)

    def _update(self, contents: np.ndarray, stars: np.ndarray, is_new: np.ndarray) -> None:
        """Sherman and Morrison (1950): (A + x x')^-1 = A^-1 - A^-1 x x' A^-1 / (1 + x' A^-1 x)."""
        contents = contents * is_new[:, None]
        direction = np.einsum("nij,nj->ni", self._inverse, contents)
        scale = 1.0 + (direction * contents).sum(1)
        self._inverse -= direction[:, :, None] * direction[:, None, :] / scale[:, None, None]
        self._targets += contents * stars[:, None]

    @staticmethod
    def _with_constant(contents: np.ndarray) -> np.ndarray:
        constant = np.ones((*contents.shape[:-1], 1))
        return np.concatenate([contents.astype(np.float64), constant], axis=-1)
