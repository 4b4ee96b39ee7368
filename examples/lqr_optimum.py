"""Learn a max-entropy LQR and compare what was learnt with the closed-form optimum; `flowsac lqr` does it with more
care."""

import argparse

import maxent_envs
from sb3_flowsac.callbacks import LQROptimalityCallback
from sb3_flowsac.evaluation.lqr import EvaluationSettings, evaluate_policy_on_lqr
from sb3_flowsac.evaluation.policies import LearntPolicy
from sb3_flowsac.lqr_study.models import lqr_model

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=40_000, help="environment steps")
steps = parser.parse_args().steps

alpha = 0.5
problem = maxent_envs.preset("default")  # or maxent_envs.load_problem("my_lqr.yml")
optimum = problem.solve(alpha)
print("optimal gain\n", optimum.K, "\noptimal covariance\n", optimum.Sigma)

model = lqr_model(problem, alpha=alpha, seed=0)
model.learn(steps, callback=LQROptimalityCallback(eval_freq=1_000, n_rollouts=100, n_actions=1_000, verbose=1))

settings = EvaluationSettings(n_rollouts=1_000, horizon=100, n_states=100, n_actions=4_000)
figures = evaluate_policy_on_lqr(LearntPolicy(model), optimum, settings).metrics()
print(f"mean error {figures['mean_error']:.1%}, covariance error {figures['cov_error']:.1%}")
print(f"return {figures['return']:.2f}, the optimum's {figures['optimal_return']:.2f}")
