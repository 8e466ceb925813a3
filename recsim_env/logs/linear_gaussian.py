"""Latent columns given observed columns: linear means and Gaussian residuals.

Shape legend: R rows, X observed columns, L latent columns.
"""

from dataclasses import dataclass

import numpy as np

_RIDGE = 20.0
"""An indicator with 20 rows gets half of its unregularised coefficient."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearGaussian:
    """latent = intercept + observed @ coefficients + N(0, covariance)."""

    names: tuple[str, ...]
    """Of L latent columns."""
    intercept: np.ndarray
    """[L] float64."""
    coefficients: np.ndarray
    """[X, L] float64."""
    covariance: np.ndarray
    """[L, L] float64, positive semi-definite."""

    def __post_init__(self) -> None:
        num_latent = len(self.names)
        shapes = self.intercept.shape, self.coefficients.shape[1:], self.covariance.shape
        if shapes != ((num_latent,), (num_latent,), (num_latent, num_latent)):
            raise ValueError("names, intercept, coefficients and covariance have inconsistent shapes")
        if not all(np.isfinite(each).all() for each in (self.intercept, self.coefficients, self.covariance)):
            raise ValueError("numbers must be finite")

    @classmethod
    def fit(cls, names: tuple[str, ...], observed: np.ndarray, latent: np.ndarray) -> "LinearGaussian":
        """Ridge regression of [R, L] `latent` on [R, X] `observed`; its residuals give the covariance."""
        centred = observed - observed.mean(0)
        gram = centred.T @ centred + _RIDGE * np.eye(observed.shape[1])
        coefficients = np.linalg.solve(gram, centred.T @ latent)
        residuals = latent - latent.mean(0) - centred @ coefficients
        return cls(
            names=names,
            intercept=latent.mean(0) - observed.mean(0) @ coefficients,
            coefficients=coefficients,
            covariance=residuals.T @ residuals / len(residuals),
        )

    def draw(self, observed: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """[R, L] float64 latent columns for [R, X] observed ones."""
        strengths, directions = np.linalg.eigh(self.covariance)
        root = directions * np.sqrt(np.maximum(strengths, 0.0))
        deviations = generator.standard_normal((len(observed), len(self.names))) @ root.T
        return self.intercept + observed @ self.coefficients + deviations
