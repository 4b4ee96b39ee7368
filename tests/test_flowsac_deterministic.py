"""The same seed gives the same run, evaluation changes nothing, and modes of training and evaluation are kept apart."""

import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

OBS = np.array([[0.6, 0.8, 0.3], [-1.0, 0.0, -2.0]], np.float32)


class Dropout(BaseFeaturesExtractor):
    """Batch normalisation and dropout: both tell training from evaluation."""

    def __init__(self, observation_space):
        super().__init__(observation_space, 8)
        self.net = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.5))

    def forward(self, observations):
        return self.net(observations)


def parameters_after(model, steps=60, callback=None):
    model.learn(steps, callback=callback)
    return torch.cat([p.detach().flatten() for p in model.policy.parameters()])


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"policy_kwargs": {"squash_output": False, "base": "standard"}, "actor_loss": "isfm"},
        {"n_steps": 3, "ent_coef": 0.1},
    ],
    ids=["default", "unsquashed", "n-step"],
)
def test_the_same_seed_gives_the_same_run(make_model, kwargs):
    first, second, other = (
        parameters_after(make_model("Pendulum-v1", **{**kwargs, "seed": seed})) for seed in (4, 4, 5)
    )
    assert torch.equal(first, second) and not torch.equal(first, other)


def test_set_random_seed_gives_the_same_run(make_model):
    results = []
    for _ in range(2):
        model = make_model("Pendulum-v1")
        model.learn(30)
        model.set_random_seed(9)
        results.append(parameters_after(model, 30))
    assert torch.equal(*results)


def test_two_models_in_turn_do_not_disturb_each_other(make_model):
    """No hidden state is shared: with the random state put back, a model learns as it does alone."""

    def train_twice(disturb):
        model = make_model("Pendulum-v1", learning_rate=1e-3)
        model.learn(40)
        if disturb:
            states = torch.get_rng_state(), np.random.get_state()
            make_model("MountainCarContinuous-v0", seed=3, policy_kwargs={"squash_output": False}).learn(40)
            torch.set_rng_state(states[0])
            np.random.set_state(states[1])
        model.train(10, 16)
        return torch.cat([p.detach().flatten() for p in model.policy.parameters()])

    assert torch.equal(train_twice(False), train_twice(True))


def test_deterministic_evaluation_leaves_the_run_as_it_was(make_model):
    """As with SAC: EvalCallback uses an environment of its own and draws no random numbers."""
    plain = parameters_after(make_model("Pendulum-v1"))
    callback = EvalCallback(make_vec_env("Pendulum-v1", seed=1), eval_freq=25, n_eval_episodes=1, verbose=0)
    assert torch.equal(parameters_after(make_model("Pendulum-v1"), callback=callback), plain)
    assert callback.last_mean_reward > -np.inf


def test_densities_asked_for_in_training_leave_the_run_as_it_was(make_model):
    class Looks(BaseCallback):
        looks = 0

        def _on_step(self):
            generator = torch.Generator().manual_seed(0)
            with torch.no_grad():
                actions, _ = self.model.policy.sample(OBS, 3, generator)
                self.model.policy.log_prob(OBS, actions)
                self.model.policy.entropy(OBS, 3, generator)
            self.looks += 1
            return True

    callback = Looks()
    plain = parameters_after(make_model("Pendulum-v1"))
    assert torch.equal(parameters_after(make_model("Pendulum-v1"), callback=callback), plain)
    assert callback.looks == 60


def test_evaluate_policy_repeats(make_model):
    model = make_model("Pendulum-v1").learn(40)
    returns = [
        evaluate_policy(model, make_vec_env("Pendulum-v1", seed=2), n_eval_episodes=2, return_episode_rewards=True)[0]
        for _ in range(2)
    ]
    assert returns[0] == returns[1] and returns[0][0] < 0


def test_training_mode_while_training_and_evaluation_mode_while_acting(make_model):
    model = make_model("Pendulum-v1", policy_kwargs={"features_extractor_class": Dropout})
    extractor = model.actor.features_extractor.net

    def state():
        return {key: value.clone() for key, value in extractor.state_dict().items()}

    model.learn(60)
    assert extractor[1].num_batches_tracked > 0  # trained in training mode
    before = state()
    actions = [model.predict(OBS, deterministic=True)[0] for _ in range(2)]
    np.testing.assert_array_equal(*actions)  # no dropout
    assert all(torch.equal(value, before[key]) for key, value in state().items())  # and no statistics of the batch
    assert not model.actor.training and not model.policy.training


def test_rollouts_leave_batch_statistics_alone(make_model):
    model = make_model("Pendulum-v1", learning_starts=1000, policy_kwargs={"features_extractor_class": Dropout})
    before = {key: value.clone() for key, value in model.policy.state_dict().items()}
    model.learn(50)
    assert all(torch.equal(value, before[key]) for key, value in model.policy.state_dict().items())


def test_target_critics_stay_in_evaluation_mode_and_copy_batch_statistics(make_model):
    model = make_model("Pendulum-v1", policy_kwargs={"features_extractor_class": Dropout, "critic": "network"})
    model.policy.set_training_mode(True)
    assert model.actor.training and model.critic.training and not model.critic_target.training
    model.learn(60)
    ours, targets = model.critic.state_dict(), model.critic_target.state_dict()
    running = [name for name in ours if "running_" in name]
    assert running and all(torch.equal(ours[name], targets[name]) for name in running)
