"""FlowSAC: soft actor-critic with a flow policy, improved by importance sampling flow matching."""

from typing import Any, ClassVar, TypeVar, cast

import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, PyTorchObs, Schedule

from sb3_flowsac.algorithm import arguments
from sb3_flowsac.algorithm.actor import FlowActor
from sb3_flowsac.algorithm.bellman import CompiledBellmanError, bellman_error
from sb3_flowsac.algorithm.collection import CheckedOffPolicyAlgorithm
from sb3_flowsac.algorithm.critics import Critic
from sb3_flowsac.algorithm.entropy_coefficient import EntropyCoefficient, read_ent_coef
from sb3_flowsac.algorithm.figures import Figures, check_figures
from sb3_flowsac.algorithm.improvement import even_rows, improvement_in, pathwise_loss, rows_of
from sb3_flowsac.algorithm.policies import CnnPolicy, FlowPolicy, MlpPolicy, MultiInputPolicy
from sb3_flowsac.algorithm.schedules import HoldThenLinearSchedule
from sb3_flowsac.checks import boolean, choice, integer, number
from sb3_flowsac.flow import FlowDistribution
from sb3_flowsac.isfm import (
    SamplingDistribution,
    get_sampling_distribution,
    isfm_loss,
    scale_of_base,
    weight_statistics,
)

ACTOR_LOSSES = ("both", "isfm", "pathwise")
BIAS_INTERVAL = 100  # actor updates between two measurements of ``train/log_prob_bias``

SelfFlowSAC = TypeVar("SelfFlowSAC", bound="FlowSAC")


class FlowSAC(CheckedOffPolicyAlgorithm):
    """
    Soft actor-critic with a flow policy and importance sampling flow matching (SAC-ISFM, Algorithm 2).

    Paper: https://arxiv.org/abs/2512.23870. The critics regress on r + gamma (Q(s', a') - alpha log pi(a'|s')) with the
    flow's log-density by its trace integral. The actor draws proposals from a sampling distribution, weighs them by
    exp(Q / alpha) / density, normalised within each state, and matches the flow to them.

    :param policy: "FlowPolicy" (the same as "MlpPolicy"), "CnnPolicy", "MultiInputPolicy" or a policy class
    :param env: the environment to learn from (if registered in Gymnasium, can be str)
    :param learning_rate: learning rate of all networks, a number or a function of the remaining progress (from 1 to 0);
        by default 1e-3, which falls to 0 in the last fifth of the run
    :param buffer_size: size of the replay buffer
    :param learning_starts: how many steps to collect, with uniformly drawn actions, before learning starts; "auto" for
        a tenth of the run, at least 100 and at most 1,000
    :param batch_size: number of transitions in each gradient step
    :param tau: the soft update coefficient ("Polyak update", between 0 and 1) of critics with target networks, which
        the default ones do not have
    :param gamma: the discount factor
    :param train_freq: update the model every ``train_freq`` steps, or ``(5, "step")``, or ``(2, "episode")``
    :param gradient_steps: how many gradient steps to do after each rollout; ``-1`` for as many as there were steps
    :param action_noise: noise added to the (scaled) actions while exploring
    :param replay_buffer_class: replay buffer class to use; if ``None``, chosen automatically
    :param replay_buffer_kwargs: keyword arguments to pass to the replay buffer on creation
    :param optimize_memory_usage: enable a memory efficient variant of the replay buffer
    :param n_steps: n-step returns if above 1; their entropy bonus is that of the last state alone
    :param ent_coef: entropy coefficient alpha, a number, "auto" to learn it from 1 on, or "auto_0.1" from 0.1 on
    :param target_update_interval: update target networks, if there are any, every ``target_update_interval`` gradient
        steps
    :param target_entropy: target entropy of the scaled action when learning ``ent_coef``; "auto" is minus its dimension
    :param use_sde: part of SAC's signature; a flow has no gSDE, so only ``False``
    :param sde_sample_freq: as ``use_sde``, only ``-1``
    :param use_sde_at_warmup: as ``use_sde``, only ``False``
    :param n_proposals: number of proposals that ISFM draws in each state, at least 2
    :param min_effective_proposals: effective sample size that the weights keep in each state, at most a quarter of the
        proposals: where equation 9 has fewer, the step goes a part of the way from the policy to the target, see
        ``tempered_weights``; 1 for the paper's weights everywhere
    :param sampling_distribution: where ISFM draws: "newton" (half from the current policy, 3/8 from a Gaussian that
        follows Q's gradient, 1/8 uniformly), "policy" (the paper's), another name, see ``get_sampling_distribution``,
        or a ``SamplingDistribution``
    :param n_next_actions: number of actions in each next state over which the soft value is averaged
    :param policy_delay: improve the actor, and adapt alpha, every ``policy_delay`` gradient steps
    :param actor_loss: "isfm", the paper's; "pathwise", SAC's gradient in the base distribution alone, so that the
        policy stays the Gaussian (of full covariance) that it starts as; or "both"
    :param isfm_interval: with "both", ISFM has a part in every ``isfm_interval``-th improvement
    :param actor_batch_size: number of states that ISFM works in, at even distances in the batch; ``None`` for all
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
    entropy_coefficient: EntropyCoefficient
    replay_buffer: ReplayBuffer

    def __init__(
        self,
        policy: str | type[FlowPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = HoldThenLinearSchedule(1e-3),
        buffer_size: int = 1_000_000,
        learning_starts: int | str = "auto",
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
        ent_coef: str | float = "auto_0.1",
        target_update_interval: int = 1,
        target_entropy: str | float = "auto",
        use_sde: bool = False,
        sde_sample_freq: int = -1,
        use_sde_at_warmup: bool = False,
        n_proposals: int = 16,
        min_effective_proposals: float = 4.0,
        sampling_distribution: str | SamplingDistribution = "newton",
        n_next_actions: int = 1,
        policy_delay: int = 3,
        actor_loss: str = "both",
        isfm_interval: int = 2,
        actor_batch_size: int | None = 64,
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
            arguments.check_subclass("policy", policy, FlowPolicy, self.policy_aliases)
        super().__init__(
            policy,
            env,
            learning_rate,
            buffer_size,
            cast(int, learning_starts),  # "auto" until learn, which knows how long the run is
            batch_size,
            tau,
            gamma,
            train_freq,
            gradient_steps,
            action_noise,
            replay_buffer_class=replay_buffer_class,
            replay_buffer_kwargs=replay_buffer_kwargs,
            optimize_memory_usage=optimize_memory_usage,
            n_steps=n_steps,
            policy_kwargs=arguments.refuse_sde(policy_kwargs, use_sde, sde_sample_freq, use_sde_at_warmup),
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            verbose=verbose if isinstance(verbose, bool) else integer("verbose", verbose, 0, 2),
            device=arguments.usable_device(device),
            seed=seed,
            sde_support=False,
            supported_action_spaces=(spaces.Box,),
            support_multi_env=True,
        )
        self.ent_coef = ent_coef
        self.target_update_interval = target_update_interval
        # "auto" and a name until _setup_model looks them up, which load calls, too
        self.target_entropy = cast(float, target_entropy)
        self.sampling_distribution = cast(SamplingDistribution, sampling_distribution)
        self.n_proposals = n_proposals
        self.min_effective_proposals = min_effective_proposals
        self.n_next_actions = n_next_actions
        self.policy_delay = policy_delay
        self.actor_loss = actor_loss
        self.isfm_interval = isfm_interval
        self.actor_batch_size = actor_batch_size
        self.torch_compile = torch_compile
        if _init_setup_model:
            self._setup_model()

    def _get_policy_from_name(self, policy_name: str) -> type[BasePolicy]:
        return self.policy_aliases[choice("policy", policy_name, self.policy_aliases)]

    def _check_arguments(self) -> None:
        """Check what the constructor, or a saved file, has set; numpy's numbers become Python's."""
        if not hasattr(self, "observation_space"):
            raise ValueError("env must be an environment or the id of one, got None")
        arguments.check_settings(self)
        self.torch_compile = boolean("torch_compile", self.torch_compile)
        self.actor_loss = choice("actor_loss", self.actor_loss, ACTOR_LOSSES)
        self.min_effective_proposals = number("min_effective_proposals", self.min_effective_proposals, 1.0)
        read_ent_coef(self.ent_coef)
        squashed = self.policy_kwargs.get("squash_output", True)
        self.target_entropy = arguments.target_entropy(self.target_entropy, get_action_dim(self.action_space), squashed)
        self.sampling_distribution = get_sampling_distribution(self.sampling_distribution)
        self.sampling_distribution.check(self.n_proposals)
        # A model that another algorithm has saved does not carry over
        arguments.check_subclass("policy", self.policy_class, FlowPolicy)
        known = arguments.parameter_names(self.policy_class) - arguments.OF_POLICIES
        arguments.keywords("policy_kwargs", self.policy_kwargs, known, self.policy_class.__name__)

    def _setup_model(self) -> None:
        self._check_arguments()
        given = self.replay_buffer_class, self.replay_buffer_kwargs.copy()
        super()._setup_model()
        # SB3 fills them in from n_steps and gamma; a model that is loaded with others of these needs another buffer
        self.replay_buffer_class, self.replay_buffer_kwargs = given
        self.actor = self.policy.actor
        self.critic = self.policy.critic
        self.critic_target = self.policy.critic_target or self.policy.critic
        if self.actor_loss != "isfm" and not self.actor.flow.base.learnable:
            raise ValueError(
                f"actor_loss={self.actor_loss!r} trains the base distribution by SAC's gradient, and "
                f'base="{self.actor.flow.options["base"]}" has no parameters; pass actor_loss="isfm"'
            )
        self._bellman_error = CompiledBellmanError() if self.torch_compile else bellman_error
        self.entropy_coefficient = EntropyCoefficient(self.ent_coef, self.lr_schedule(1)).to(self.device)

    @property
    def ent_coef_optimizer(self) -> EntropyCoefficient:
        """alpha with its optimizer, by the name that SAC saves it under."""
        return self.entropy_coefficient

    def current_ent_coef(self) -> float:
        """The entropy coefficient alpha that training uses now, fixed or learnt."""
        return float(self.entropy_coefficient())

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """
        Gradient steps of Algorithm 2 (SAC-ISFM).

        :param gradient_steps: number of gradient steps
        :param batch_size: number of transitions in each
        """
        self.policy.set_training_mode(True)
        optimizers = (self.actor.optimizer, self.critic.optimizer, self.entropy_coefficient.optimizer)
        self._update_learning_rate([optimizer for optimizer in optimizers if optimizer is not None])
        self._warn_of_steps_without_effect(gradient_steps)
        actor_learns = any(parameter.requires_grad for parameter in self.actor.parameters())  # or is frozen
        figures = Figures()  # for the log alone
        for _ in range(gradient_steps):
            self._n_updates += 1
            batch = self.replay_buffer.sample(batch_size, env=self._vec_normalize_env)
            batch = batch._replace(actions=batch.actions.float())  # a buffer keeps half precision as it is
            alpha = self.entropy_coefficient()

            # Policy evaluation, lines 6 to 8: next actions of the policy, log pi by equation 6, regression of Q (1)
            error = self._bellman_error(
                self.actor, self.critic, self.critic_target, batch, self.gamma, self.n_next_actions, alpha
            )
            self.critic.minimize(error.critic_loss)
            figures.add(**error._asdict(), ent_coef=alpha)

            # Every few steps, as CrossQ
            if (self._n_updates - 1) % self.policy_delay == 0:
                # Policy improvement, lines 9 to 11: proposals, weights (9), flow matching; ours: the pathwise gradient
                if actor_learns:
                    figures.add(**self.improve_actor(batch.observations, alpha))
                # SAC's, not in Algorithm 2: alpha moves so that the entropy meets its target
                if actor_learns and self.entropy_coefficient.is_learnt:
                    figures.add(ent_coef_loss=self.entropy_coefficient.step(-error.log_prob - self.target_entropy))

            # SAC's, not in Algorithm 2: a target network
            if self.critic.uses_target and self._n_updates % self.target_update_interval == 0:
                self.critic_target.follow(self.critic, self.tau)
        self._record(figures)
        self.policy.set_training_mode(False)

    def improve_actor(self, observations: PyTorchObs, ent_coef: torch.Tensor) -> dict[str, torch.Tensor]:
        """
        A step of the actor's optimizer towards exp(Q / alpha) / Z in a batch of states.

        The loss is ISFM's (equation 9), in ``actor_batch_size`` of the states at every ``isfm_interval``-th call, and
        ours: SAC's E[log pi - Q / alpha], whose gradient moves the base distribution alone. Both have their optimum
        there. ``actor_loss`` chooses one.

        :param observations: the states
        :param ent_coef: alpha
        :return: figures for the log, by name
        """
        figures: dict[str, torch.Tensor] = {}
        n_calls = max(self._n_updates - 1, 0) // self.policy_delay
        loss, shrink = torch.zeros((), device=self.device), torch.ones((), device=self.device)
        features = self.actor.features(observations, update_norm=True)
        index = even_rows(len(features), self.actor_batch_size, features.device)
        some = rows_of(observations, index)
        if self.actor_loss != "isfm":
            figures["pathwise_loss"], y1 = pathwise_loss(self.actor, self.critic, features, observations, ent_coef)
            loss, shrink = loss + figures["pathwise_loss"], scale_of_base(y1.squeeze(1))
        if self.actor_loss == "isfm" or (self.actor_loss == "both" and n_calls % self.isfm_interval == 0):
            policy = self.actor.flow(features[index])
            proposals, weights, tau = self.weigh_proposals(policy, some, ent_coef)
            figures["isfm_loss"] = torch.stack(isfm_loss(policy, proposals, weights, shrink=shrink)).sum()
            loss = loss + figures["isfm_loss"]
            figures |= weight_statistics(weights)
            figures |= {"temper": tau.mean(), "irregular_fraction": policy.irregular_fraction}
        self.actor.optimizer.zero_grad()
        if loss.requires_grad:  # not if the base is frozen and ISFM has no part
            learning = [p for p in self.actor.parameters() if p.requires_grad]  # the critics' need no gradients
            torch.autograd.backward(loss, inputs=learning)
            self.actor.optimizer.step()
        figures["actor_loss"] = loss
        if n_calls % BIAS_INTERVAL == 0:
            with torch.no_grad():
                figures["log_prob_bias"] = self.actor.distribution(some).log_prob_bias()
        return {name: figure.detach() for name, figure in figures.items()}

    @torch.no_grad()
    def weigh_proposals(
        self, policy: FlowDistribution, observations: PyTorchObs, ent_coef: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """
        Draw proposals of the sampling distribution in a batch of states, and weigh them (equation 9).

        Ours: in each state the weights are tempered so that ``min_effective_proposals`` count.

        :param policy: the actor's distribution in these states
        :param observations: the states
        :param ent_coef: alpha
        :return: proposals u (batch, n, action_dim), self-normalised weights (batch, n), and the exponent tau of each
            state (batch,), 1 for equation 9 itself
        """
        improvement = improvement_in(policy, self.actor, self.critic, observations, ent_coef)
        draws = self.sampling_distribution.given(improvement, self.n_proposals).draw(policy)
        enough = max(1.0, min(self.min_effective_proposals, 0.25 * self.n_proposals))
        weights, tau = improvement.tempered_weights(draws, enough)
        return draws.latents, weights, tau

    def _record(self, figures: Figures) -> None:
        """Log the means over the gradient steps."""
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        means = figures.means()
        if means:
            check_figures(means, self.policy, self._n_updates, self.num_timesteps)
            for name, mean in means.items():
                self.logger.record(f"train/{name}", mean)
            self.logger.record("train/entropy", -means["log_prob"])

    def learn(
        self: SelfFlowSAC,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 4,
        tb_log_name: str = "FlowSAC",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> SelfFlowSAC:
        return super().learn(total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar)

    def _excluded_save_params(self) -> list[str]:
        return [
            *super()._excluded_save_params(),
            "actor",
            "critic",
            "critic_target",
            "_bellman_error",
            "entropy_coefficient",
        ]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy", "actor.optimizer", "critic.optimizer", "ent_coef_optimizer"], []
