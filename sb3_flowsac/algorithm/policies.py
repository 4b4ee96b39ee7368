"""The policy of FlowSAC: an actor that is a conditional flow, and its critics."""

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, CombinedExtractor, FlattenExtractor, NatureCNN
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import nn

from sb3_flowsac.algorithm import arguments
from sb3_flowsac.algorithm.action_box import ActionBox
from sb3_flowsac.algorithm.actor import FlowActor
from sb3_flowsac.algorithm.candidates import centre_and_sobol_noise
from sb3_flowsac.algorithm.critics import Critic
from sb3_flowsac.algorithm.density import in_parts
from sb3_flowsac.algorithm.finite import first_not_finite
from sb3_flowsac.algorithm.optimizers import make_optimizer
from sb3_flowsac.checks import MAX_SIZE, boolean, integer, naming


class FlowPolicy(BasePolicy):
    """
    Policy class of FlowSAC: flow actor, critics and target critics.

    Units. Actor and critics work in scaled actions: each component of the Box mapped to [-1, 1], u_i = c_i a_i + centre
    with c_i half the width of the Box. Entropies in training (``train/entropy``, ``target_entropy``, the entropy term
    of the soft value) are those of the scaled action. ``sample``, ``log_prob`` and ``entropy`` speak of actions in the
    environment's units: their log-density is lower by sum_i log c_i, their entropy higher by as much.

    Deterministic prediction returns the action to which the flow carries the centre of its base distribution. For a
    Gaussian policy that is the mean (the median under tanh). For a policy with several modes it is one definite action
    of positive density and need not be a mode.

    Best of several actions. With ``n_action_candidates`` above 1, deterministic prediction also carries fixed
    quasi-random noise through the flow. Of all these actions and the centre's it takes the one that the critics value
    most: still a function of the observation alone. With ``n_acting_candidates`` above 1, stochastic prediction does
    the same with fresh draws, so also acting in training; what it draws is then no longer exp(Q / alpha) / Z but
    greedier. Both can be set on an existing policy: ``model.policy.n_action_candidates = 32``. ``sample``,
    ``log_prob``, ``entropy`` and the soft value of the critics' targets are those of the flow itself.

    :param observation_space: observation space
    :param action_space: action space
    :param lr_schedule: learning rate schedule (could be constant)
    :param net_arch: sizes of the hidden layers, one list for both or ``dict(pi=[...], qf=[...])``; default [256, 256]
    :param activation_fn: activation function of the actor's trunk and of the critics
    :param squash_output: whether actions are squashed by tanh (default) or unbounded and clipped to the Box on acting
    :param features_extractor_class: features extractor to use
    :param features_extractor_kwargs: keyword arguments to pass to the features extractor
    :param normalize_images: whether to divide images by 255
    :param optimizer_class: the optimizer to use, ``torch.optim.Adam`` by default
    :param optimizer_kwargs: additional keyword arguments, excluding the learning rate, to pass to the optimizer; Adam
        and AdamW are torch's fused ones unless an implementation is chosen here
    :param critic: kind of the critics: "batch_renorm" (CrossQ's), "layer_norm" (residual, like SimBa's), "network"
        (SAC's), "quadratic" (the shape of a linear-quadratic regulator's values) or a subclass of ``Critic``
    :param critic_kwargs: keyword arguments of that kind, such as ``n_quantiles`` (TQC's), see ``NetworkCritic``
    :param n_critics: number of critics, at least 1; ``Critic.reduce`` says what they are worth together
    :param share_features_extractor: whether actor and critics share the features extractor, which the actor trains
    :param n_action_candidates: number of actions of which deterministic prediction takes the best by the critics
    :param n_acting_candidates: number of actions of which stochastic prediction takes the best by the critics
    :param flow_kwargs: all further keyword arguments: base distribution, velocity field and solver (``base``,
        ``field``, ``ode_steps``, ...), see ``sb3_flowsac.flow.make_flow``
    :raises ValueError: if an argument is out of range or the observation space needs another policy class
    :raises TypeError: if an argument is of the wrong kind
    """

    actor: FlowActor
    critic: Critic

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Box,
        lr_schedule: Schedule,
        net_arch: list[int] | dict[str, list[int]] | None = None,
        activation_fn: type[nn.Module] = nn.ReLU,
        squash_output: bool = True,
        features_extractor_class: type[BaseFeaturesExtractor] = FlattenExtractor,
        features_extractor_kwargs: dict[str, Any] | None = None,
        normalize_images: bool = True,
        optimizer_class: type[torch.optim.Optimizer] = torch.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
        critic: str | type[Critic] = "batch_renorm",
        critic_kwargs: dict[str, Any] | None = None,
        n_critics: int = 2,
        share_features_extractor: bool = False,
        n_action_candidates: int = 1,
        n_acting_candidates: int = 1,
        **flow_kwargs: Any,
    ) -> None:
        arguments.check_action_space(action_space)
        arguments.check_subclass("features_extractor_class", features_extractor_class, BaseFeaturesExtractor)
        arguments.keywords("features_extractor_kwargs", features_extractor_kwargs)
        arguments.check_activation(activation_fn)
        arguments.check_optimizer(optimizer_class, optimizer_kwargs)
        boolean("squash_output", squash_output)
        boolean("normalize_images", normalize_images)
        boolean("share_features_extractor", share_features_extractor)
        arguments.check_extractor_fits(observation_space, features_extractor_class, normalize_images)
        # Here, too, and not in the properties alone: torch keeps a module that is assigned to any attribute
        n_action_candidates = integer("n_action_candidates", n_action_candidates, 1, MAX_SIZE)
        n_acting_candidates = integer("n_acting_candidates", n_acting_candidates, 1, MAX_SIZE)
        super().__init__(
            observation_space,
            action_space,
            features_extractor_class,
            features_extractor_kwargs,
            optimizer_class=optimizer_class,
            optimizer_kwargs=optimizer_kwargs,
            squash_output=squash_output,
            normalize_images=normalize_images,
        )
        self.net_arch: list[int] | dict[str, list[int]] = [256, 256] if net_arch is None else net_arch
        self.activation_fn = activation_fn
        self.share_features_extractor = share_features_extractor
        self.critic_class = arguments.critic_class(critic, critic_kwargs)
        self._critic_arguments = {"critic": critic, "critic_kwargs": critic_kwargs}
        actor_arch, critic_arch = arguments.architectures(self.net_arch)
        net_args = {
            "observation_space": observation_space,
            "action_space": action_space,
            "activation_fn": activation_fn,
            "normalize_images": normalize_images,
        }
        self.actor_kwargs = {**net_args, **flow_kwargs, "net_arch": actor_arch, "squash_output": squash_output}
        self.critic_kwargs = {
            **net_args,
            **(critic_kwargs or {}),
            "net_arch": critic_arch,
            "n_critics": integer("n_critics", n_critics, 1, MAX_SIZE),
            "share_features_extractor": share_features_extractor,
        }
        self._build(lr_schedule)
        self.box = ActionBox(action_space)
        self.n_action_candidates, self.n_acting_candidates = n_action_candidates, n_acting_candidates

    @property
    def n_action_candidates(self) -> int:
        """Number of actions of which deterministic prediction takes the best."""
        return self.candidate_noise.shape[0]

    @n_action_candidates.setter
    def n_action_candidates(self, n: int) -> None:
        n = integer("n_action_candidates", n, 1, MAX_SIZE)
        noise = centre_and_sobol_noise(n, len(self.box.scale)).to(self.box.scale)
        self.candidate_noise = nn.Buffer(noise, persistent=False)

    @property
    def n_acting_candidates(self) -> int:
        """Number of actions of which stochastic prediction takes the best."""
        return self._n_acting_candidates

    @n_acting_candidates.setter
    def n_acting_candidates(self, n: int) -> None:
        self._n_acting_candidates = integer("n_acting_candidates", n, 1, MAX_SIZE)

    def _build(self, lr_schedule: Schedule) -> None:
        """Create actor, critics, target critics if they need any, and the two optimizers."""
        optimizer = self.optimizer_class, lr_schedule(1), self.optimizer_kwargs
        self.actor = self.make_actor()
        self.actor.optimizer = make_optimizer(list(self.actor.parameters()), *optimizer)
        self.critic = self.make_critic(self.actor.features_extractor if self.share_features_extractor else None)
        self.critic.set_training_mode(False)  # a probe must not move running statistics
        arguments.check_critic_shapes(self.critic)
        # A shared extractor is trained by the actor's loss alone
        shared = "features_extractor" if self.share_features_extractor else None
        parameters = [p for name, p in self.critic.named_parameters() if name.partition(".")[0] != shared]
        self.critic.optimizer = make_optimizer(parameters, *optimizer)
        self.critic_target: Critic | None = None
        if self.critic.uses_target:
            self.critic_target = self.make_critic()
            self.critic_target.load_state_dict(self.critic.state_dict())
            self.critic_target.set_training_mode(False)
        self.set_training_mode(False)  # no statistics move unless it is asked for

    def make_features_extractor(self) -> BaseFeaturesExtractor:
        """A new features extractor."""
        given, kind = self.features_extractor_kwargs, self.features_extractor_class
        with naming(f"features_extractor_kwargs={given} do not fit {kind.__name__}", TypeError, TypeError):
            extractor = super().make_features_extractor()
        return extractor

    def make_actor(self) -> FlowActor:
        """A new actor with its own features extractor."""
        return FlowActor(**self._update_features_extractor(self.actor_kwargs)).to(self.device)

    def make_critic(self, features_extractor: BaseFeaturesExtractor | None = None) -> Critic:
        """New critics, by default with an extractor of their own."""
        kwargs = self._update_features_extractor(self.critic_kwargs, features_extractor)
        given, kind = self._critic_arguments["critic_kwargs"], self.critic_class
        with naming(f"critic_kwargs={given} do not fit {kind.__name__}", TypeError, TypeError):
            critic = kind(**kwargs).to(self.device)
        return critic

    def _get_constructor_parameters(self) -> dict[str, Any]:
        data = super()._get_constructor_parameters()
        data.update(
            self.actor.flow.options,
            net_arch=self.net_arch,
            activation_fn=self.activation_fn,
            squash_output=self.squash_output,
            **self._critic_arguments,
            n_critics=self.critic_kwargs["n_critics"],
            share_features_extractor=self.share_features_extractor,
            n_action_candidates=self.n_action_candidates,
            n_acting_candidates=self.n_acting_candidates,
            lr_schedule=self._dummy_schedule,  # dummy lr schedule, not needed for loading policy alone
            optimizer_class=self.optimizer_class,
            optimizer_kwargs=self.optimizer_kwargs,
            features_extractor_class=self.features_extractor_class,
            features_extractor_kwargs=self.features_extractor_kwargs,
        )
        return data

    def train(self, mode: bool = True) -> "FlowPolicy":
        """
        Put actor and critics in training or evaluation mode; target critics stay in evaluation mode.

        :param mode: if true, set to training mode, else set to evaluation mode
        """
        for module in (self.actor, self.critic):
            if module.training != mode:  # each call of predict asks, and the way through all submodules takes time
                module.train(mode)
        self.training = mode
        return self

    def obs_to_tensor(self, observation: Any) -> tuple[PyTorchObs, bool]:
        """
        As SB3's, for finite observations alone.

        :raises ValueError: if a number of the observation is not finite; says where and which
        """
        if (found := first_not_finite("observation", observation)) is not None:
            raise ValueError(f"{found}; it must be finite in single precision")
        return super().obs_to_tensor(observation)

    def forward(self, obs: PyTorchObs, deterministic: bool = False, noise: torch.Tensor | None = None) -> torch.Tensor:
        """
        Actions as ``_predict`` gives them, by operations that ``torch.export`` can trace.

        :param obs: observations as the networks take them
        :param deterministic: whether to predict deterministically
        :param noise: base noise, (batch, n_acting_candidates, action_dim); drawn by default
        """
        features = self.actor.features(obs)
        return self._act(obs, self.actor.flow(features).push(self._noise(features, deterministic, noise)))

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> torch.Tensor:
        """Scaled actions if squashed, else actions in the environment's units: what SB3's ``predict`` expects."""
        features = self.actor.features(observation)
        return self._act(observation, self.actor.flow.push(features, self._noise(features, deterministic)))

    def _noise(self, features: torch.Tensor, deterministic: bool, noise: torch.Tensor | None = None) -> torch.Tensor:
        """Base noise of the actions of which prediction takes the best, (batch, n, action_dim)."""
        if deterministic:
            return self.candidate_noise.expand(features.shape[0], -1, -1)
        shape = (features.shape[0], self.n_acting_candidates, len(self.box.scale))
        return torch.randn(shape, dtype=features.dtype, device=features.device) if noise is None else noise

    def _act(self, obs: PyTorchObs, u: torch.Tensor) -> torch.Tensor:
        """The best of the actions that u, (batch, n, action_dim), stands for, in the units of ``_predict``."""
        actions = self._best(obs, self.actor.transform(u))
        return actions if self.squash_output else self.box.unscale(actions)

    def _best(self, obs: PyTorchObs, candidates: torch.Tensor) -> torch.Tensor:
        """In each state the scaled action of the largest value: (batch, n, dim) to (batch, dim)."""
        if candidates.shape[1] == 1:
            return candidates.squeeze(1)
        # The environment would clip an unsquashed action to its Box
        values = self.critic.value(self.critic.features(obs), candidates.clamp(-1.0, 1.0))
        best = values.argmax(1)[:, None, None].expand(-1, 1, candidates.shape[-1])
        return candidates.gather(1, best).squeeze(1)

    @torch.no_grad()
    def sample(
        self, obs: Any, n: int = 1, generator: torch.Generator | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Draw actions with their log-density, both in the environment's units, without gradients.

        :param obs: observations as ``predict`` takes them, numpy or tensor, single or batched
        :param n: number of actions in each state
        :param generator: source of the noise; default torch's global one
        :return: actions (batch, n, action_dim), unclipped if unsquashed, and log-densities (batch, n)
        """
        return self.rsample(obs, n, generator)

    def rsample(
        self, obs: Any, n: int = 1, generator: torch.Generator | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        As ``sample``, with gradients to the actor's parameters (the reparameterisation of ``torch.distributions``).

        :param obs: observations as ``predict`` takes them, numpy or tensor, single or batched
        :param n: number of actions in each state
        :param generator: source of the noise; default torch's global one
        :return: actions (batch, n, action_dim), unclipped if unsquashed, and log-densities (batch, n)
        """
        n = integer("n", n, 1)
        distribution = self.actor.distribution(self._observations(obs))
        # All the noise at once: how the work is divided must not change the draws
        draws = in_parts(distribution, distribution.noise(n, generator), distribution.push_with_log_prob)
        u, log_prob = torch.cat([u for u, _ in draws], dim=1), torch.cat([p for _, p in draws], dim=1)
        log_prob = log_prob - self.actor.transform.log_det(u) - self.box.log_volume
        actions = self.box.unscale(self.actor.transform(u))
        return self.box.clamp(actions) if self.squash_output else actions, log_prob

    def log_prob(self, obs: Any, actions: np.ndarray | torch.Tensor) -> torch.Tensor:
        """
        Log-density of given actions in the environment's units, with gradients as in ``torch.distributions``. In
        training mode these also move the running statistics of the actor's input.

        :param obs: observations as ``predict`` takes them, numpy or tensor, single or batched
        :param actions: (batch, action_dim) or (batch, n, action_dim) with ``action_dim`` the flattened Box
        :return: (batch,) or (batch, n); -inf outside a squashed policy's Box
        :raises ValueError: if the shapes do not fit, or an action is nan
        """
        distribution = self.actor.distribution(self._observations(obs), update_norm=self.training)
        actions = torch.as_tensor(actions, dtype=self.box.scale.dtype, device=self.device)
        expected = (distribution.batch_size, distribution.dim)
        if actions.dim() not in (2, 3) or (actions.shape[0], actions.shape[-1]) != expected:
            raise ValueError(
                f"actions has shape {tuple(actions.shape)}; {expected[0]} observation(s) need "
                f"({expected[0]}, {expected[1]}) or ({expected[0]}, n, {expected[1]})"
            )
        if actions.isnan().any():
            raise ValueError("actions must be numbers, got nan")
        scaled = self.box.to_scaled(actions if actions.dim() == 3 else actions.unsqueeze(1))
        transform = self.actor.transform
        u = transform.inverse(scaled)
        log_prob = torch.cat(in_parts(distribution, u, distribution.log_prob), dim=1)
        log_prob = log_prob - transform.log_det(u) - self.box.log_volume
        if transform.squashes:
            log_prob = log_prob.masked_fill(self.box.is_outside(scaled), -torch.inf)
        return log_prob if actions.dim() == 3 else log_prob.squeeze(1)

    def entropy(self, obs: Any, n: int = 64, generator: torch.Generator | None = None) -> torch.Tensor:
        """
        Monte-Carlo entropy of the policy in the environment's units: minus the mean log-density of n samples.

        :param obs: observations as ``predict`` takes them, numpy or tensor, single or batched
        :param n: number of samples in each state
        :param generator: source of the noise; default torch's global one
        :return: (batch,), in nats, without gradients
        """
        return -self.sample(obs, n, generator)[1].mean(-1)

    def _observations(self, obs: Any) -> PyTorchObs:
        """Observations as ``predict`` takes them, also as tensors, to a batch on the policy's device."""

        def to_numpy(part: Any) -> Any:
            return part.detach().cpu().numpy() if isinstance(part, torch.Tensor) else part

        obs = {key: to_numpy(part) for key, part in obs.items()} if isinstance(obs, dict) else to_numpy(obs)
        return self.obs_to_tensor(obs)[0]


MlpPolicy = FlowPolicy


class CnnPolicy(FlowPolicy):
    """
    ``FlowPolicy`` for images.

    :param args: arguments of ``FlowPolicy``
    :param kwargs: keyword arguments of ``FlowPolicy``; ``features_extractor_class`` is ``NatureCNN`` by default
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("features_extractor_class", NatureCNN)
        super().__init__(*args, **kwargs)


class MultiInputPolicy(FlowPolicy):
    """
    ``FlowPolicy`` for observations that are dictionaries.

    :param args: arguments of ``FlowPolicy``
    :param kwargs: keyword arguments of ``FlowPolicy``; ``features_extractor_class`` is ``CombinedExtractor`` by default
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("features_extractor_class", CombinedExtractor)
        super().__init__(*args, **kwargs)
