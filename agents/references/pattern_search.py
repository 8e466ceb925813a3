"""Pattern search: direct search for the maximum of a mean that can only be simulated."""

from collections.abc import Callable

import numpy as np

_SIGNIFICANT = 0.5
"""Of the standard error of a paired difference: what a step must gain to be made."""
_GROWTH, _SHRINKAGE = 1.5, 0.5


def pattern_search(
    returns_at: Callable[[np.ndarray], np.ndarray], start: np.ndarray, steps: np.ndarray, num_rounds: int
) -> np.ndarray:
    """Coordinate steps up or down as long as they raise the mean return (Hooke and Jeeves, "Direct search solution of
    numerical and statistical problems", Journal of the ACM 1961).

    Args:
        returns_at: a point to returns [n] in the same n sessions with the same random numbers, so that the noise of
            differences is small.
        start: first point, any shape.
        steps: first step of each coordinate, of the same shape; 0 leaves a coordinate as it is. A step grows after a
            success and shrinks after a failure.
        num_rounds: times that each coordinate is tried.

    Returns:
        The best point found.
    """
    best, steps = np.array(start, np.float64), np.array(steps, np.float64)
    returns = returns_at(best)
    for _ in range(num_rounds):
        for at in zip(*np.nonzero(steps), strict=True):
            for direction in (1.0, -1.0):
                point = best.copy()
                point[at] += direction * steps[at]
                gains = returns_at(point) - returns
                if gains.mean() > _SIGNIFICANT * gains.std() / np.sqrt(len(gains)):
                    best, returns = point, returns + gains
                    steps[at] *= direction * _GROWTH
                    break
            else:
                steps[at] *= _SHRINKAGE
    return best
