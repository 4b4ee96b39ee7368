"""A target as a user would write it, on top of what ``maxent_envs`` offers."""

import numpy as np
import numpy.typing as npt
from scipy.special import i0e

from maxent_envs import Target

RADIUS, WIDTH, CONCENTRATION = 0.55, 0.1, 4.0
MASSES = np.array([0.6, 0.4])


class Crescents(Target):
    """
    Two arcs of a circle that face each other and turn with the state (cos theta, sin theta).

    p(a|s) ~ exp(-(r - 0.55)^2 / (2 0.1^2)) (0.6 exp(4 cos(phi - theta)) + 0.4 exp(-4 cos(phi - theta))) in polar
    coordinates. What this puts outside the Box, below 1e-4, is left out of account.
    """

    def __init__(self) -> None:
        super().__init__(state_dim=2, action_dim=2)

    @property
    def mode_masses(self) -> npt.NDArray[np.float64]:
        """Probability of each arc."""
        return MASSES

    def mode_of(self, states: npt.ArrayLike, actions: npt.ArrayLike) -> npt.NDArray[np.intp]:
        """The arc on whose side of the circle an action lies."""
        return ((np.asarray(actions) * np.asarray(states)[:, None]).sum(-1) < 0.0).astype(np.intp)

    def sample_states(self, n: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
        """States evenly spread on the unit circle."""
        theta = rng.uniform(0.0, 2.0 * np.pi, n)
        return np.stack([np.cos(theta), np.sin(theta)], axis=-1)

    def log_density(self, states: npt.ArrayLike, actions: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """log p(a|s)."""
        actions = np.asarray(actions)
        radius = np.maximum(np.hypot(actions[..., 0], actions[..., 1]), 1e-12)
        across = (actions * np.asarray(states)[:, None]).sum(-1) / radius  # cosine of the angle to theta
        of_radius = -0.5 * ((radius - RADIUS) / WIDTH) ** 2 - np.log(np.sqrt(2.0 * np.pi) * WIDTH * RADIUS)
        arcs = np.log(MASSES) + CONCENTRATION * (np.stack([across, -across], axis=-1) - 1.0)
        of_angle = np.logaddexp(arcs[..., 0], arcs[..., 1]) - np.log(2.0 * np.pi * i0e(CONCENTRATION))
        return np.asarray(of_radius + of_angle)

    def sample(self, states: npt.ArrayLike, n: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
        """Actions from p(a|s)."""
        cosine, sine = np.asarray(states, dtype=np.float64).T
        angle = np.arctan2(sine, cosine)[:, None] + rng.vonmises(0.0, CONCENTRATION, (len(cosine), n))
        angle += np.pi * (rng.random(angle.shape) < MASSES[1])
        grid = np.linspace(0.0, 1.2, 2001)
        below = np.cumsum(grid * np.exp(-0.5 * ((grid - RADIUS) / WIDTH) ** 2))  # the area element is r dr
        radius = np.interp(rng.random(angle.shape), below / below[-1], grid)
        return np.clip(np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1), -1.0, 1.0)
