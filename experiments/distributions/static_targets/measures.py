"""How far a policy is from its target, measured on states that no fit has seen."""

import numpy as np
import torch

from experiments.distributions.static_targets.fits import Fit

N_STATES, N_ACTIONS = 256, 64
SEED = 1_000_000  # of the states and draws of a measurement, the same for all fits
GRID = 64  # points of a density's picture along each axis


def measures(fit: Fit) -> dict[str, float]:
    """
    Figures of a policy pi beside the target p, in nats where no other unit is named.

    ``kl``: KL(pi || p) with the density of the samples that the sampler produces, and ``kl_error``, its standard error
    over states. ``forward_kl``: KL(p || pi). ``ess``: effective sample size of the policy's draws as proposals for the
    target, over their number. ``mode_mass``: the largest deviation of a mode's mass from the target's, of the mean over
    states; ``mode_mass_in_states``: the same of the root mean square over states, without the part that counting a
    finite number of draws explains.
    """
    target, rng = fit.target, np.random.default_rng(SEED)
    states = target.sample_states(N_STATES, rng).astype(np.float32)
    actions, log_prob = fit.sample(states, N_ACTIONS, torch.Generator().manual_seed(SEED))
    log_ratio = log_prob - target.log_density(states, actions)
    of_states = log_ratio.mean(1)
    true = target.sample(states, N_ACTIONS, rng)
    return {
        "kl": float(of_states.mean()),
        "kl_error": float(of_states.std(ddof=1) / np.sqrt(N_STATES)),
        "forward_kl": float((target.log_density(states, true) - fit.log_prob(states, true)).mean()),
        "ess": _ess(-log_ratio),
        **_mode_masses(fit, states, actions),
    }


def _ess(log_weights: np.ndarray) -> float:
    weights = np.exp(log_weights - log_weights.max(1, keepdims=True))
    return float((weights.sum(1) ** 2 / (weights**2).sum(1)).mean() / weights.shape[1])


def _mode_masses(fit: Fit, states: np.ndarray, actions: np.ndarray) -> dict[str, float]:
    masses = fit.target.mode_masses
    found = (fit.target.mode_of(states, actions)[..., None] == np.arange(len(masses))).mean(1)
    counting = found * (1.0 - found) / (N_ACTIONS - 1)
    square = ((found - masses) ** 2 - counting).mean(0)
    return {
        "mode_mass": float(np.abs(found.mean(0) - masses).max()),
        "mode_mass_in_states": float(np.sqrt(max(0.0, square.max()))),
    }


def density_picture(fit: Fit) -> dict[str, list[list[float]]]:
    """The policy's density and the target's on a grid over the Box, in one state; for two dimensions."""
    states = fit.target.sample_states(1, np.random.default_rng(SEED)).astype(np.float32)
    axis = (np.arange(GRID) + 0.5) / GRID * 2.0 - 1.0
    actions = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(1, -1, 2)
    log_densities = {"learnt": fit.log_prob(states, actions), "target": fit.target.log_density(states, actions)}
    return {name: np.exp(found).reshape(GRID, GRID).round(3).tolist() for name, found in log_densities.items()}
