"""Faults put into environment, networks and values: each stops training where it appears, with its name and the
step."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from sb3_flowsac.algorithm.figures import MAX_LOG_PROB, MAX_VALUE
from sb3_flowsac.algorithm.finite import check_finite

BAD = [np.nan, np.inf, -np.inf]


class Faulty(gym.Env):
    """Episodes of ten steps; the ``fault``, a place, gets ``value`` in the step or reset number ``when`` (from 1)."""

    action_space = gym.spaces.Box(-1.0, 1.0, (2,))

    def __init__(self, fault=None, value=np.nan, when=0, is_dict=False):
        box = gym.spaces.Box(-np.inf, np.inf, (3,))
        self.observation_space = gym.spaces.Dict({"left": box, "right": box}) if is_dict else box
        self.fault, self.value, self.when = fault, value, when
        self.steps = self.resets = 0
        self.actions = []

    def _observation(self, spoilt):
        parts = {"left": np.ones(3, np.float32), "right": np.ones(3, np.float32)}
        if spoilt:
            parts["right"][2] = self.value
        return parts if isinstance(self.observation_space, gym.spaces.Dict) else parts["right"]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.resets += 1
        return self._observation(self.fault == "reset" and self.resets == self.when), {}

    def step(self, action):
        self.actions.append(action)
        self.steps += 1
        now = self.steps == self.when
        observation = self._observation(self.fault == "observation" and now)
        return observation, self.value if self.fault == "reward" and now else 1.0, False, self.steps % 10 == 0, {}


def after(step, action):
    """A callback that does something once, after a given environment step."""

    class Once(BaseCallback):
        def _on_step(self):
            if self.num_timesteps == step:
                action(self.model)
            return True

    return Once()


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("when", [7, 33])  # in the warm-up and after it
def test_rewards(make_model, value, when):
    env = Faulty("reward", value, when)
    with pytest.raises(FloatingPointError, match=rf"^reward\[0\] is {value} at environment step {when};"):
        make_model(env).learn(60)
    assert env.steps == when


@pytest.mark.parametrize("value", BAD)
def test_observations(make_model, value):
    with pytest.raises(FloatingPointError, match=rf"^observation\[0, 2\] is {value} at environment step 33;"):
        make_model(Faulty("observation", value, 33)).learn(60)


def test_observations_beyond_single_precision():
    with pytest.raises(FloatingPointError, match=r"^observation\[0, 1\] is 1e\+200 at environment step 5;"):
        check_finite("observation", np.array([[0.0, 1e200]]), 5)


def test_observations_of_a_dictionary(make_model):
    with pytest.raises(FloatingPointError, match=r"^observation\['right'\]\[0, 2\] is nan at environment step 33;"):
        make_model(Faulty("observation", when=33, is_dict=True), policy="MultiInputPolicy").learn(60)


def test_last_observations_of_episodes(make_model):
    with pytest.raises(
        FloatingPointError, match=r"^infos\[0\]\['terminal_observation'\]\[2\] is nan at environment step 30;"
    ):
        make_model(Faulty("observation", when=30)).learn(60)


@pytest.mark.parametrize(("number", "step"), [(1, 0), (3, 20)])
def test_first_observations_of_episodes(make_model, number, step):
    with pytest.raises(FloatingPointError, match=rf"^observation\[0, 2\] is nan at environment step {step};"):
        make_model(Faulty("reset", when=number)).learn(60)


@pytest.mark.parametrize("fault", ["reward", "observation"])
def test_what_vec_normalize_would_hide(make_model, fault):
    """It clips infinities where its statistics are fixed; the buffer keeps what the environment gave."""
    env = VecNormalize(DummyVecEnv([lambda: Faulty(), lambda: Faulty(fault, np.inf, 12)]), training=False)
    with pytest.raises(FloatingPointError, match=rf"^{fault}\[1.*\] is inf at environment step 24;"):
        make_model(env).learn(60)


def test_images_and_integers_are_finite():
    check_finite("observation", {"image": np.zeros((1, 4, 4), np.uint8), "count": np.zeros(1, np.int64)}, 0)


def test_actor_parameters_stop_training_before_the_environment_acts(make_model):
    def spoil(model):
        with torch.no_grad():
            model.actor.trunk[0].bias[3] = np.nan

    env = Faulty()
    message = r"^action\[0, 0\] is nan at environment step 55.*actor\.trunk\.0\.bias"
    with pytest.raises(FloatingPointError, match=message):
        make_model(env, train_freq=100).learn(60, callback=after(55, spoil))
    assert env.steps == 55 and np.isfinite(env.actions).all()


def test_actor_parameters_stop_training_in_the_next_gradient_step(make_model):
    """Though the actor itself learns in none of the next three."""

    def spoil(model):
        with torch.no_grad():
            model.actor.trunk[0].bias[3] = np.nan

    env = Faulty()
    with pytest.raises(FloatingPointError, match=r"is nan at gradient step 1\d .*actor\.trunk\.0\.bias"):
        make_model(env, policy_delay=4).learn(60, callback=after(31, spoil))
    assert env.steps <= 32 and np.isfinite(env.actions).all()


def test_critic_parameters_are_named(make_model):
    def spoil(model):
        with torch.no_grad():
            model.critic.layers[0].bias.fill_(np.inf)

    message = r"critic_loss is (nan|inf) at gradient step 11 \(environment step 31\).*critic\.layers\.0\..*checkpoint"
    with pytest.raises(FloatingPointError, match=message):
        make_model(Faulty()).learn(60, callback=after(31, spoil))


@pytest.mark.parametrize("sign", [1, -1])
def test_diverging_critics(make_model, sign):
    def blow_up(model):
        with torch.no_grad():
            model.critic.layers[-1].bias.fill_(sign * 2 * MAX_VALUE)

    message = r"the critics diverge: their mean Q is -?2e\+12 at gradient step 11 .*checkpoint"
    with pytest.raises(FloatingPointError, match=message):
        make_model(Faulty()).learn(60, callback=after(31, blow_up))


def test_a_diverging_density(make_model):
    def throw_far_out(model):
        def far_out(obs, n=1):
            return torch.zeros(len(obs), n, *model.action_space.shape), torch.full((len(obs), n), 2 * MAX_LOG_PROB)

        model.actor.action_log_prob = far_out

    message = (
        r"the policy's density diverges: its mean logarithm is [0-9.e+]+ at gradient step 11 .*ent_coef.*checkpoint"
    )
    with pytest.raises(FloatingPointError, match=message):
        make_model(Faulty()).learn(60, callback=after(31, throw_far_out))


def test_critics_that_feed_on_themselves_are_stopped(make_model):
    """A discount above 1, smuggled in, and plain gradient descent: every value grows without limit."""
    kwargs = {"optimizer_class": torch.optim.SGD}
    model = make_model(Faulty(), gradient_steps=20, tau=1.0, learning_rate=1e-2, ent_coef=0.1, policy_kwargs=kwargs)
    model.gamma = 1e3
    with pytest.raises(FloatingPointError, match=r"the critics diverge|is (inf|nan) at gradient step"):
        model.learn(400)


class TestDegenerateWeights:
    """Proposals' Q of every awkward kind: weights stay weights, and training goes on."""

    @pytest.fixture
    def weights_of(self, make_model, weighted_proposals):
        def weights(q_values, ent_coef, **kwargs):
            torch.manual_seed(0)
            model = make_model("Pendulum-v1", ent_coef=ent_coef, **kwargs)
            model.critic.q_values = lambda features, actions: q_values(actions).expand(2, -1, -1)
            return weighted_proposals(model, torch.zeros(4, 3), model.entropy_coefficient())

        return weights

    @pytest.mark.parametrize("ent_coef", [1e-8, 1e-3, 1e8])
    @pytest.mark.parametrize("size", [0.0, 1.0, 1e6, 1e30])
    @pytest.mark.parametrize("name", ["newton", "defensive"])
    def test_weights_are_a_distribution(self, weights_of, ent_coef, size, name):
        _, weights = weights_of(lambda actions: size * actions.sin().sum(-1), ent_coef, sampling_distribution=name)
        torch.testing.assert_close(weights.sum(-1), torch.ones(4))
        assert (weights >= 0).all()

    @pytest.mark.parametrize("offset", [0.0, -1e7, 1e7, 1e30])
    def test_equal_values_leave_the_densities_to_decide(self, weights_of, offset):
        """However large Q / alpha is (here up to 1e38), a constant Q says nothing."""
        _, expected = weights_of(lambda actions: 0.0 * actions[..., 0], 1.0)
        _, weights = weights_of(lambda actions: 0.0 * actions[..., 0] + offset, 1e-8)
        torch.testing.assert_close(weights, expected)
        assert (weights.amax(-1) > weights.amin(-1)).all()

    def test_all_the_weight_on_one_proposal(self, weights_of):
        def peak(actions):
            return -1e6 * (actions - 0.3).square().sum(-1)

        # Newton's Gaussian would put half of the proposals there
        latents, weights = weights_of(peak, 1e-8, sampling_distribution="defensive")
        distances = (latents.tanh() - 0.3).square().sum(-1)
        torch.testing.assert_close(
            weights, torch.nn.functional.one_hot(distances.argmin(-1), weights.shape[-1]).float()
        )

    @pytest.mark.parametrize("ent_coef", [1e-8, 1e8, "auto_0.00000001"])
    @pytest.mark.parametrize("scale", [0.0, 1e6])
    def test_training_goes_on(self, make_model, ent_coef, scale):
        class Scaled(gym.RewardWrapper):
            def reward(self, reward):
                return scale * reward

        model = make_model(Scaled(gym.make("Pendulum-v1")), ent_coef=ent_coef).learn(50)
        assert model._n_updates == 30 and all(p.isfinite().all() for p in model.policy.parameters())
