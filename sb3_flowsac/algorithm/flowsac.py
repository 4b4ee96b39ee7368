"""FlowSAC: soft actor-critic with a flow policy, improved by importance sampling flow matching."""

from collections import defaultdict
from itertools import islice
from typing import Any, ClassVar, TypeVar, cast

import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, PyTorchObs, ReplayBufferSamples, Schedule
from stable_baselines3.common.utils import get_parameters_by_name, polyak_update
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from sb3_flowsac.algorithm.actor import FlowActor
from sb3_flowsac.algorithm.bellman import CompiledBellmanError, bellman_error
from sb3_flowsac.algorithm.checks import (
    check_arguments,
    check_policy_class,
    dictionary,
    initial_ent_coef,
    proposal_budget,
    refuse_sde,
    usable_device,
    verbosity,
    without_sde,
)
from sb3_flowsac.algorithm.collection import CheckedOffPolicyAlgorithm
from sb3_flowsac.algorithm.critics import Critic
from sb3_flowsac.algorithm.finite import check_figures
from sb3_flowsac.algorithm.policies import CnnPolicy, FlowPolicy, MlpPolicy, MultiInputPolicy
from sb3_flowsac.flow import FlowDistribution
from sb3_flowsac.isfm import (
    Improvement,
    SamplingDistribution,
    isfm_loss,
    running_ess_share,
    scheduled_proposals,
    weight_statistics,
)

# Effective proposals, at most a quarter of all: with fewer the policy no longer follows a lower temperature
LEAST_EFFECTIVE = 1.5
BIAS_INTERVAL = 100  # actor updates between two measurements of ``train/log_prob_bias``

SelfFlowSAC = TypeVar("SelfFlowSAC", bound="FlowSAC")


class FlowSAC(CheckedOffPolicyAlgorithm):
    """
    Soft actor-critic with a flow policy and importance sampling flow matching (SAC-ISFM, Algorithm 2).

    Paper: https://arxiv.org/abs/2512.23870. The critics regress on r + gamma (min Q_target(s', a') - alpha log
    pi(a'|s'))
    with the flow's log-density by its trace integral. The actor draws proposals from a sampling distribution, weighs
    them by exp(Q / alpha) / density, normalised within each state, and matches the flow to them.

    :param policy: "FlowPolicy" (the same as "MlpPolicy"), "CnnPolicy", "MultiInputPolicy" or a policy class
    :param env: the environment to learn from (if registered in Gymnasium, can be str)
    :param learning_rate: learning rate of all networks, a number or a function of the remaining progress (from 1 to 0)
    :param buffer_size: size of the replay buffer
    :param learning_starts: how many steps to collect, with uniformly drawn actions, before learning starts
    :param batch_size: number of transitions in each gradient step
    :param tau: the soft update coefficient ("Polyak update", between 0 and 1)
    :param gamma: the discount factor
    :param train_freq: update the model every ``train_freq`` steps, or a tuple such as ``(5, "step")`` or ``(2,
        "episode")``
    :param gradient_steps: how many gradient steps to do after each rollout; ``-1`` for as many as there were steps
    :param action_noise: noise added to the (scaled) actions while exploring
    :param replay_buffer_class: replay buffer class to use; if ``None``, chosen automatically
    :param replay_buffer_kwargs: keyword arguments to pass to the replay buffer on creation
    :param optimize_memory_usage: enable a memory efficient variant of the replay buffer
    :param n_steps: n-step returns if above 1; their entropy bonus is that of the last state alone
    :param ent_coef: entropy regularization coefficient alpha, a number, "auto" to learn it, or "auto_0.1" to start from
        0.1
    :param target_update_interval: update the target network every ``target_update_interval`` gradient steps
    :param target_entropy: target entropy of the scaled action when learning ``ent_coef``; "auto" is minus its dimension
    :param use_sde: part of SAC's signature; a flow has no gSDE, so only ``False``
    :param sde_sample_freq: as ``use_sde``, only ``-1``
    :param use_sde_at_warmup: as ``use_sde``, only ``False``
    :param n_proposals: number of proposals that ISFM draws in each state; "auto" lets each update choose from the
        running effective sample size, from 12 up to 32, or to 64 with "auto_64"
    :param sampling_distribution: where ISFM draws: "newton" (half from the current policy, 3/8 from a Gaussian that
        follows Q's gradient, 1/8 uniformly), "policy" (the paper's), another name, see ``get_sampling_distribution``,
        or a ``SamplingDistribution``
    :param n_next_actions: number of actions in each next state over which the soft value is averaged
    :param actor_batch_size: number of states of the batch that the actor is improved at; ``None`` for all
    :param policy_delay: improve the actor every ``policy_delay`` gradient steps
    :param actor_epochs: number of steps that the actor's optimizer takes on the proposals of an improvement, each with
        fresh draws from them: values of Q are dear, regressions on them are not
    :param actor_tau: the soft update coefficient of the averaged actor, which acts, predicts and is backed up (between
        0 and 1; with 1 it is the trained one)
    :param torch_compile: compile the critics' loss and its gradient with ``torch.compile``: pays in long runs, since
        the first gradient step then takes up to a minute (seconds where torch's cache has it), and wants a C++ compiler
    :param stats_window_size: window size for the rollout logging: number of episodes to average over
    :param tensorboard_log: the log location for tensorboard (if None, no logging)
    :param policy_kwargs: additional arguments to be passed to the policy on creation, see ``FlowPolicy``
    :param verbose: verbosity level: 0 for no output, 1 for info messages, 2 for debug messages
    :param seed: seed for the pseudo random generators
    :param device: device (cpu, cuda, ...) on which the code should be run; "auto" uses the GPU if possible
    :param _init_setup_model: whether or not to build the network at the creation of the instance
    :raises ValueError: if an argument is out of range
    :raises TypeError: if an argument is of the wrong kind
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "FlowPolicy": FlowPolicy,
        "MlpPolicy": MlpPolicy,
        "CnnPolicy": CnnPolicy,
        "MultiInputPolicy": MultiInputPolicy,
    }
    policy: FlowPolicy
    actor: FlowActor
    critic: Critic
    critic_target: Critic
    replay_buffer: ReplayBuffer

    def __init__(
        self,
        policy: str | type[FlowPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 1e-3,
        buffer_size: int = 1_000_000,
        learning_starts: int = 1000,
        batch_size: int = 256,
        tau: float = 0.005,
        gamma: float = 0.99,
        train_freq: int | tuple[int, str] = 1,
        gradient_steps: int = 1,
        action_noise: ActionNoise | None = None,
        replay_buffer_class: type[ReplayBuffer] | None = None,
        replay_buffer_kwargs: dict[str, Any] | None = None,
        optimize_memory_usage: bool = False,
        n_steps: int = 1,
        ent_coef: str | float = "auto",
        target_update_interval: int = 1,
        target_entropy: str | float = "auto",
        use_sde: bool = False,
        sde_sample_freq: int = -1,
        use_sde_at_warmup: bool = False,
        n_proposals: int | str = 16,
        sampling_distribution: str | SamplingDistribution = "newton",
        n_next_actions: int = 1,
        actor_batch_size: int | None = 64,
        policy_delay: int = 24,
        actor_epochs: int = 4,
        actor_tau: float = 0.02,
        torch_compile: bool = False,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        if not isinstance(policy, str):
            check_policy_class(policy, FlowPolicy)
        policy_kwargs = without_sde(dictionary("policy_kwargs", policy_kwargs))
        refuse_sde(use_sde, sde_sample_freq, use_sde_at_warmup, policy_kwargs or {})
        super().__init__(
            policy,
            env,
            learning_rate,
            buffer_size,
            learning_starts,
            batch_size,
            tau,
            gamma,
            train_freq,
            gradient_steps,
            action_noise,
            replay_buffer_class=replay_buffer_class,
            replay_buffer_kwargs=dictionary("replay_buffer_kwargs", replay_buffer_kwargs),
            optimize_memory_usage=optimize_memory_usage,
            n_steps=n_steps,
            policy_kwargs=policy_kwargs,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            verbose=verbosity(verbose),
            device=usable_device(device),
            seed=seed,
            sde_support=False,
            supported_action_spaces=(spaces.Box,),
            support_multi_env=True,
        )
        self.ent_coef = ent_coef
        self.target_update_interval = target_update_interval
        self.target_entropy = target_entropy
        self.n_proposals = n_proposals
        # It may be a name until _setup_model looks it up, which load calls, too
        self.sampling_distribution = cast(SamplingDistribution, sampling_distribution)
        self.n_next_actions = n_next_actions
        self.actor_batch_size = actor_batch_size
        self.policy_delay = policy_delay
        self.actor_epochs = actor_epochs
        self.actor_tau = actor_tau
        self.torch_compile = torch_compile
        self._ess_share = 0.0  # running, for the schedule of n_proposals
        self._effective_proposals: torch.Tensor  # of the latest actor update
        self.log_ent_coef: torch.Tensor | None = None
        self.ent_coef_optimizer: torch.optim.Adam | None = None

        if _init_setup_model:
            self._setup_model()

    def _get_policy_from_name(self, policy_name: str) -> type[BasePolicy]:
        if policy_name not in self.policy_aliases:
            raise ValueError(f"policy={policy_name!r} is unknown; choose one of {', '.join(self.policy_aliases)}")
        return self.policy_aliases[policy_name]

    def _setup_model(self) -> None:
        check_arguments(self)
        try:
            super()._setup_model()
        except MemoryError as error:
            raise MemoryError(
                f"buffer_size={self.buffer_size} transitions do not fit into the memory: {error}"
            ) from error
        self._create_aliases()
        self._bellman_error = CompiledBellmanError() if self.torch_compile else bellman_error
        self.batch_norm_stats = get_parameters_by_name(self.critic, ["running_"])
        self.batch_norm_stats_actor = get_parameters_by_name(self.actor, ["running_"])
        self.batch_norm_stats_average = get_parameters_by_name(self.policy.actor_average, ["running_"])
        self.batch_norm_stats_target = get_parameters_by_name(self.critic_target, ["running_"])
        if self.target_entropy == "auto":
            self.target_entropy = -float(get_action_dim(self.action_space))
        self._effective_proposals = torch.full((1,), torch.inf, device=self.device)
        initial, is_learnt = initial_ent_coef(self.ent_coef)
        if is_learnt:
            # The logarithm is learnt, so that the coefficient stays positive
            self.log_ent_coef = torch.full((1,), initial, device=self.device).log().requires_grad_(True)
            self.ent_coef_optimizer = torch.optim.Adam([self.log_ent_coef], lr=self.lr_schedule(1), fused=True)
        else:
            self.ent_coef_tensor = torch.tensor(initial, device=self.device)

    def _create_aliases(self) -> None:
        self.actor = self.policy.actor
        self.critic = self.policy.critic
        self.critic_target = self.policy.critic_target

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """
        Gradient steps of Algorithm 2.

        :param gradient_steps: number of gradient steps
        :param batch_size: number of transitions in each
        """
        self.policy.set_training_mode(True)
        optimizers = [self.actor.optimizer, self.critic.optimizer]
        if self.ent_coef_optimizer is not None:
            optimizers.append(self.ent_coef_optimizer)
        self._update_learning_rate(optimizers)

        stats: dict[str, list[torch.Tensor]] = defaultdict(list)
        for _ in range(gradient_steps):
            self._n_updates += 1
            batch = self.replay_buffer.sample(batch_size, env=self._vec_normalize_env)
            batch = batch._replace(actions=batch.actions.float())  # a buffer keeps half precision as it is
            ent_coef = self.current_ent_coef()
            # Policy evaluation (lines 6 to 8)
            critic_loss = self._critic_loss(batch, ent_coef, stats)
            self._optimize(self.critic.optimizer, critic_loss)
            self._update_ent_coef(stats)
            if self._n_updates % self.policy_delay == 0:
                # Policy improvement (lines 9 to 11)
                self.improve_actor(batch.observations, batch.actions, ent_coef, stats)
            if self._n_updates % self.target_update_interval == 0:
                _move_average(self.critic_target, self.critic, self.tau)
                polyak_update(self.batch_norm_stats, self.batch_norm_stats_target, 1.0)
        self._record(stats)
        self.policy.set_training_mode(False)  # while it trains, and then no longer

    def current_ent_coef(self) -> torch.Tensor:
        """The entropy coefficient alpha, fixed or learnt, as a tensor without gradient."""
        return self.ent_coef_tensor if self.log_ent_coef is None else self.log_ent_coef.detach().exp()

    def _critic_loss(
        self, batch: ReplayBufferSamples, ent_coef: torch.Tensor, stats: dict[str, list[torch.Tensor]]
    ) -> torch.Tensor:
        """Squared error of the soft Bellman equation (1), log pi by the trace integral (6)."""
        error = self._bellman_error(
            self.policy.actor_average, self.critic, self.critic_target, batch, self.gamma, self.n_next_actions, ent_coef
        )
        stats["critic_loss"].append(error.loss.detach())
        for name in ("q_value", "log_prob", "clip_fraction"):
            stats[name].append(getattr(error, name))
        return error.loss

    def improve_actor(
        self,
        observations: PyTorchObs,
        actions: torch.Tensor,
        ent_coef: torch.Tensor,
        stats: dict[str, list[torch.Tensor]],
    ) -> None:
        """
        One step of policy improvement by ISFM (equation 9): towards exp(Q / alpha) / Z in a batch of states.

        The proposals are weighed once and serve ``actor_epochs`` steps of the optimizer.

        :param observations: the states; the first ``actor_batch_size`` of them are used
        :param actions: the scaled actions that the replay buffer holds for them, (batch, action_dim)
        :param ent_coef: alpha
        :param stats: where the step's figures are appended
        """
        observations, actions = _first(observations, self.actor_batch_size), actions[: self.actor_batch_size]
        policy = self.actor.distribution(observations)
        latents, weights = self.weigh_proposals(policy, observations, actions, ent_coef)
        for epoch in range(self.actor_epochs):
            loss = isfm_loss(policy if epoch == 0 else self.actor.distribution(observations), latents, weights)
            self._optimize(self.actor.optimizer, loss.flow + loss.base)
            self._update_actor_average()

        for name, value in weight_statistics(weights).items():
            stats[name].append(value)
        stats["actor_loss"].append((loss.flow + loss.base).detach())
        stats["irregular_fraction"].append(policy.irregular_fraction)
        self._effective_proposals = (stats["ess"][-1] * stats["n_proposals"][-1]).reshape(1)
        if isinstance(self.n_proposals, str):
            self._ess_share = running_ess_share(self._ess_share, stats["ess"][-1].item())
        if self._n_updates // self.policy_delay % BIAS_INTERVAL == 1:
            stats["log_prob_bias"].append(self._log_prob_bias(observations))

    @torch.no_grad()
    def weigh_proposals(
        self, policy: FlowDistribution, observations: PyTorchObs, actions: torch.Tensor, ent_coef: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Draw proposals of the sampling distribution in a batch of states, and weigh them (equation 9).

        :param policy: the actor's distribution in these states
        :param observations: the states
        :param actions: scaled actions of the replay buffer, (batch, action_dim)
        :param ent_coef: alpha
        :return: latents (batch, n, action_dim) and self-normalised weights (batch, n)
        """
        improvement = self._improvement(observations, actions, policy, ent_coef)
        n_proposals = self._next_n_proposals()
        latents, log_prob = self.sampling_distribution.given(improvement, n_proposals).sample_with_log_prob()
        return latents, improvement.weights(latents, log_prob)

    def _improvement(
        self, observations: PyTorchObs, actions: torch.Tensor, policy: FlowDistribution, ent_coef: torch.Tensor
    ) -> Improvement:
        """The improvement step towards exp(Q / alpha) / Z in a batch of states."""
        features = self.critic.extract_features(observations, self.critic.features_extractor)

        def log_action_target(points: torch.Tensor) -> torch.Tensor:
            q_values = self.critic.q_values(features, points).amin(0)
            # Only differences within a state count: without the largest no Q / alpha overflows or rounds the densities
            # away
            return (q_values - q_values.detach().amax(-1, keepdim=True)) / ent_coef

        return Improvement(policy, self.actor.transform, log_action_target, actions)

    def _next_n_proposals(self) -> int:
        budget, is_scheduled = proposal_budget(self.n_proposals)
        return scheduled_proposals(self._ess_share, budget) if is_scheduled else budget

    def _update_actor_average(self) -> None:
        """The average over about 1 / ``actor_tau`` steps of the actor, at the start over a tenth of those so far."""
        n_actor_steps = self._n_updates // self.policy_delay * self.actor_epochs
        rate = max(self.actor_tau, 10.0 / (10.0 + n_actor_steps))
        _move_average(self.policy.actor_average, self.actor, rate)
        polyak_update(self.batch_norm_stats_actor, self.batch_norm_stats_average, 1.0)

    @torch.no_grad()
    def _log_prob_bias(self, observations: PyTorchObs) -> torch.Tensor:
        """Mean of the trace integral (equation 6) minus the exact log-density of what the discrete steps draw, in
        nats."""
        policy = self.policy.actor_average.distribution(observations)
        noise = policy.noise(1)
        return (policy.push_with_log_prob(noise, "trace")[1] - policy.push_with_log_prob(noise, "exact")[1]).mean()

    def _update_ent_coef(self, stats: dict[str, list[torch.Tensor]]) -> None:
        """
        One step of alpha towards the target entropy, at the log-density of the averaged actor's next actions.

        Where few proposals have nearly all the weight the policy hardly follows alpha: a lower one would not bring its
        entropy down and alpha would fall until only the noise of Q is left, so there it may only rise.
        """
        ent_coef = self.current_ent_coef()
        if self.log_ent_coef is not None and self.ent_coef_optimizer is not None:
            excess = -(stats["log_prob"][-1] + float(self.target_entropy))  # of the entropy over its target
            least = min(LEAST_EFFECTIVE, proposal_budget(self.n_proposals)[0] / 4)
            excess = torch.where(self._effective_proposals < least, excess.clamp(max=0.0), excess)
            stats["ent_coef_loss"].append(self.log_ent_coef.detach() * excess)
            self.log_ent_coef.grad = excess  # of that product
            self.ent_coef_optimizer.step()
        stats["ent_coef"].append(ent_coef)

    @staticmethod
    def _optimize(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    def _record(self, stats: dict[str, list[torch.Tensor]]) -> None:
        """
        Log the means over the gradient steps; the one place of a training call that waits for the device.

        :raises FloatingPointError: if a figure is not finite or the critics diverge
        """
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        if not stats:
            return
        numbers = iter(torch.stack([value.reshape(()) for values in stats.values() for value in values]).tolist())
        figures = {name: sum(islice(numbers, len(values))) / len(values) for name, values in stats.items()}
        check_figures(figures, self.policy, self._n_updates, self.num_timesteps)
        for name, mean in figures.items():
            self.logger.record(f"train/{name}", mean)
        self.logger.record("train/entropy", -figures["log_prob"])
        if "n_proposals" in figures:
            self.logger.record("train/ess_floor", 1.0 / figures["n_proposals"])

    def learn(
        self: SelfFlowSAC,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 4,
        tb_log_name: str = "FlowSAC",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> SelfFlowSAC:
        """
        Return a trained model.

        :param total_timesteps: the total number of samples (env steps) to train on
        :param callback: callback(s) called at every step with the state of the algorithm
        :param log_interval: for off-policy algorithms, the number of episodes before logging
        :param tb_log_name: the name of the run for TensorBoard logging
        :param reset_num_timesteps: whether or not to reset the current timestep number (used in logging)
        :param progress_bar: display a progress bar using tqdm and rich
        :return: the trained model
        """
        return super().learn(
            total_timesteps=total_timesteps,
            callback=callback,
            log_interval=log_interval,
            tb_log_name=tb_log_name,
            reset_num_timesteps=reset_num_timesteps,
            progress_bar=progress_bar,
        )

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "actor", "critic", "critic_target", "_bellman_error"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        state_dicts = ["policy", "actor.optimizer", "critic.optimizer"]
        if self.ent_coef_optimizer is None:
            return state_dicts, ["ent_coef_tensor", "_effective_proposals"]
        return [*state_dicts, "ent_coef_optimizer"], ["log_ent_coef", "_effective_proposals"]


def _move_average(average: nn.Module, module: nn.Module, rate: float) -> None:
    """SB3's ``polyak_update`` of all parameters, in one call."""
    move = get_ema_multi_avg_fn(1.0 - rate)  # type: ignore[no-untyped-call]
    move(list(average.parameters()), list(module.parameters()), None)


def _first(observations: PyTorchObs, n: int | None) -> PyTorchObs:
    """The first n observations of a batch that was drawn at random."""
    if isinstance(observations, dict):
        return {key: value[:n] for key, value in observations.items()}
    return observations[:n]
