"""Runs on MultiGoal-v0: which of the four equal goals does the stochastic policy go to?"""

import time

import gymnasium as gym
import numpy as np
from stable_baselines3.common.utils import set_random_seed

import maxent_envs  # noqa: F401 (registers the environment)
from experiments.distributions.multimodal.peers import Model, make
from experiments.runner.tasks import Result

# The temperature of the published experiment. By value iteration on a grid the optimum then goes to a goal within the
# time limit nearly always, and its action in the centre has four humps, one for each goal; at 0.3 and 0.1 they are
# sharper
SETTINGS = {"ent_coef": 1.0, "gamma": 0.99}
EPISODES, SHOWN = 400, 40
EVALUATION_SEED = 1000  # added to the run's seed


def train(algo: str, seed: int, steps: int) -> Result:
    """
    Train one model and let it go from the centre many times.

    :param algo: key of ``peers.NAMES``
    :param seed: of the run
    :param steps: environment steps
    :return: share of the episodes to each goal and to none, their mean return and length, and some paths
    """
    model, start = make(algo, "MultiGoal-v0", seed=seed, **SETTINGS), time.process_time()
    model.learn(steps, log_interval=1_000_000)
    set_random_seed(EVALUATION_SEED + seed)
    paths, goals, returns = rollouts(model, EPISODES)
    return {
        "shares": [float(np.mean(goals == k)) for k in range(4)],
        "no_goal": float(np.mean(goals == -1)),
        "return": float(returns.mean()),
        "length": float(np.mean([len(path) - 1 for path in paths])),
        "paths": [path.round(3).tolist() for path in paths[:SHOWN]],
        "processor_seconds": round(time.process_time() - start, 1),
    }


def rollouts(model: Model, n: int) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """
    Episodes from the centre with stochastic actions, all at once.

    :param model: the trained model
    :param n: number of episodes
    :return: their paths, the index of the goal that each reaches (-1 for none) and the undiscounted returns
    """
    env = gym.make_vec("MultiGoal-v0", num_envs=n, initial_std=0.0)
    observations, _ = env.reset(seed=0)
    paths = [[position] for position in observations]
    goals, returns, running = np.full(n, -1), np.zeros(n), np.ones(n, bool)
    while running.any():
        observations, rewards, terminated, truncated, infos = env.step(model.predict(observations)[0])
        returns += running * rewards
        for i in np.flatnonzero(running):
            paths[i].append(observations[i])
        goals[running] = infos["goal"][running]
        running &= ~(terminated | truncated)
    return [np.array(path) for path in paths], goals, returns
