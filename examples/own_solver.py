"""A solver of your own: a Butcher tableau. The loop over its stages, both densities and the inverse are there."""

import argparse

from sb3_flowsac import FlowSAC
from sb3_flowsac.flow import Solver

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=5_000, help="environment steps")
steps = parser.parse_args().steps

# Ralston's method: the method of two stages with the smallest bound of the error
ralston = Solver(nodes=(0.0, 2 / 3), stages=((), (2 / 3,)), weights=(1 / 4, 3 / 4))
model = FlowSAC("FlowPolicy", "Pendulum-v1", policy_kwargs={"ode_solver": ralston, "ode_steps": 4}, seed=0)
model.learn(steps)

# The exact density inverts the steps of this solver: it gives each sample the density that it was drawn with
observation = model.observation_space.sample()
actions, log_prob = model.policy.sample(observation, n=1000)
difference = model.policy.log_prob(observation, actions) - log_prob
print("largest difference of log-densities:", difference.abs().max().item())
