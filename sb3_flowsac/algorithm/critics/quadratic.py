"""Quadratic forms in state and action, the shape of a linear-quadratic regulator's values, by least squares."""

from typing import Any

import torch
from gymnasium import spaces
from torch import nn

from sb3_flowsac.algorithm.critics.base import Critic, CriticLoss, SoftTransitions
from sb3_flowsac.checks import number, positive

RANK_TOLERANCE = 1e-13  # of the largest eigenvalue of the scaled normal equations
# 32 backups. After many more the values jump where an unstable system's policy becomes stable, and it cannot follow
DOUBLINGS = 5


class QuadraticCritic(Critic):
    r"""
    A quadratic form, Q(s, a) = z'Sz + c with z = [features, a - a_0] and a_0 the scaled action that is 0 in the
    environment's units: the shape of a max-entropy LQR's Q function (Lemma 1) if the features are the state itself.

    Q is linear in S and c. So the regression of Algorithm 2 (lines 6 to 8) is least squares, solved for each batch
    without a learning rate and without scales (Bradtke, Ydstie and Barto 1994). The form moves by the share ``rate`` of
    its way to the result of ``2**DOUBLINGS`` backups under the policy. With one backup a closed loop of spectral radius
    rho would take 1 / (rate (1 - gamma rho^2)) updates. Only the first backup is a regression of the batch; the others
    follow from it and from the regression of next states on z, see ``_sum_of_changes``. The small step stands for a
    target network: the policy must follow before the values move far.

    Two control variates, ours, take the noise out of the targets r + gamma (Q(s', a') - alpha log pi(a'|s')). They
    leave what the form converges to as it is if next states are linear in z up to noise, as an LQR's are.

    - Process noise. The value of s', less the value of its linear prediction from z, is noise up to a constant. The
      prediction is a regression over all batches so far, which serves every policy.
    - The policy's noise. Q is taken at the mean of the next actions. What their spread and their entropy add is
      averaged over the batch.

    All of it is in double precision: under a narrow policy the values within a state agree in many digits.

    :param rate: share of the way to a batch's solution, in (0, 1]
    :param kwargs: arguments of ``Critic``; sizes of networks are not used, and all ``n_critics`` are one
    :raises ValueError: if ``rate`` is out of range, or the features extractor has parameters, which nothing would train
    """

    action_space: spaces.Box
    uses_target = False

    def __init__(self, *, rate: float = 0.1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate = positive("rate", number("rate", rate, 0.0, 1.0))
        if any(True for _ in self.features_extractor.parameters()):
            raise ValueError(
                'critic="quadratic" needs a features extractor without parameters, '
                f"got {type(self.features_extractor).__name__}"
            )
        low, high = (torch.as_tensor(b.ravel()).double() for b in (self.action_space.low, self.action_space.high))
        n, size = self.features_dim, self.features_dim + self.action_dim
        self.zero_action = nn.Buffer((low + high) / (low - high), persistent=False)
        self.form = nn.Parameter(torch.zeros(size, size, dtype=torch.float64), requires_grad=False)
        self.constant = nn.Parameter(torch.zeros((), dtype=torch.float64), requires_grad=False)
        self.residual = nn.Buffer(torch.tensor(torch.inf, dtype=torch.float64))
        self.n_batches = nn.Buffer(torch.zeros((), dtype=torch.float64))
        self.second_moment = nn.Buffer(torch.zeros(size, size, dtype=torch.float64))  # E z z'
        self.cross_moment = nn.Buffer(torch.zeros(size, n, dtype=torch.float64))  # E z f(s')'
        self.rows, self.columns = torch.triu_indices(size, size)

    def q_values(self, features: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        values = self._evaluate(self._pairs(features, actions))
        return values.expand(self.n_critics, *values.shape)

    @torch.no_grad()
    def loss(self, target: Critic, transitions: SoftTransitions) -> CriticLoss:
        """
        Solve the regression of a batch. ``minimize`` then moves the form towards the solution.

        :param target: not used
        :param transitions: a batch of transitions
        :return: the mean squared residual of the soft Bellman equation (1), over the variance of its targets
        """
        features = self.features(transitions.observations)
        next_features = self.features(transitions.next_observations).double()
        pair = self._pairs(features, transitions.actions.unsqueeze(1)).squeeze(1)
        next_pairs = self._pairs(next_features, transitions.next_actions)
        self.n_batches.add_(1)
        # Batch n counts n times: the first transitions of a buffer that grows are in many batches, the last in few
        share = 2.0 / (1.0 + float(self.n_batches))
        self.second_moment.lerp_(pair.T @ pair / len(pair), share)
        self.cross_moment.lerp_(pair.T @ next_features / len(pair), share)

        mean_pair = next_pairs.mean(1)  # next states with the means of the next actions
        dynamics = _solve(self.second_moment, self.cross_moment)  # from z to the next state
        gain = _regression(next_features, mean_pair)  # from a state to the state with its mean action
        at_mean = self._evaluate(mean_pair)
        spread = (self._evaluate(next_pairs) + transitions.next_bonuses).mean(-1) - at_mean
        soft_values = at_mean + spread.mean() - self._process_noise(next_features, pair @ dynamics, gain)
        targets = transitions.rewards.squeeze(1) + transitions.discounts.squeeze(1) * soft_values

        products = torch.cat([pair[:, self.rows] * pair[:, self.columns], torch.ones_like(pair[:, :1])], dim=1)
        solution = _regression(products, targets.unsqueeze(1)).squeeze(1)
        half = torch.zeros_like(self.form)
        half[self.rows, self.columns] = 0.5 * solution[:-1]
        change = half + half.T - self.form, solution[-1] - self.constant
        self._change = _sum_of_changes(*change, dynamics @ gain, transitions.discounts.double().mean())
        values = self._evaluate(pair)
        variance = targets.var(correction=0)
        self.residual.copy_((values - targets).square().mean() / torch.where(variance > 0.0, variance, 1.0))
        return CriticLoss(self.residual.float(), values.mean().float())

    @torch.no_grad()
    def minimize(self, loss: torch.Tensor) -> None:
        form, constant = self._change
        self.form.add_(form, alpha=self.rate)
        self.constant.add_(constant, alpha=self.rate)

    def _pairs(self, features: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """z of several actions of each state, (batch, n, features_dim + action_dim)."""
        features, actions = features.to(self.form.dtype), actions.to(self.form.dtype)
        return torch.cat([features.unsqueeze(1).expand(-1, actions.shape[1], -1), actions - self.zero_action], dim=-1)

    def _evaluate(self, pairs: torch.Tensor) -> torch.Tensor:
        values: torch.Tensor = ((pairs @ self.form) * pairs).sum(-1) + self.constant
        return values

    def _process_noise(self, next_features: torch.Tensor, prediction: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
        """What the noise in next states adds to their values, without its mean, (batch,)."""
        form = gain @ self.form @ gain.T
        noise = ((next_features @ form) * next_features - (prediction @ form) * prediction).sum(-1)
        centred: torch.Tensor = noise - noise.mean()
        return centred


def _sum_of_changes(
    form: torch.Tensor, constant: torch.Tensor, transition: torch.Tensor, discount: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    The change by ``2**DOUBLINGS`` backups under a fixed policy, from the change D by the first: the sum of gamma^k T^k
    D T'^k, by doubling (Smith 1968). Where gamma^(1/2) T is not stable it has no limit, and one backup is made.

    :param form: D, symmetric
    :param constant: change of the constant
    :param transition: T, from z to the next z: z' = z T
    :param discount: gamma
    """
    power = discount.sqrt() * transition
    if torch.linalg.eigvals(power).abs().max() < 1.0:
        for _ in range(DOUBLINGS):
            form, constant = form + power @ form @ power.T, constant + discount * constant
            power, discount = power @ power, discount.square()
    # Of an asymmetry by rounding no backup takes anything away: it would grow
    return 0.5 * (form + form.T), constant


def _regression(inputs: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
    """Coefficients of linear least squares, (n_inputs, n_outputs)."""
    return _solve(inputs.T @ inputs, inputs.T @ outputs)


def _solve(gram: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """
    Normal equations scaled to a diagonal of ones, so units do not matter. Directions that the inputs do not span, as of
    a small batch, get no part of the solution.
    """
    scale = gram.diagonal().sqrt().unsqueeze(1)
    scale = torch.where(scale > 0.0, scale, 1.0)
    inverse = torch.linalg.pinv(gram / scale / scale.T, rtol=RANK_TOLERANCE, hermitian=True)
    solution: torch.Tensor = inverse @ (right / scale)
    return solution / scale
