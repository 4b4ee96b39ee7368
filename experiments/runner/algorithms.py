"""Algorithms to compare: a new one, or one with other settings, is one more line of the table."""

import copy
import inspect
import pkgutil
import platform
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import gymnasium as gym
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm


@dataclass(frozen=True)
class Algorithm:
    """
    An algorithm with its settings.

    :param name: ``"module:Class"``, imported when it is used
    :param policy: name of the policy, as the class takes it
    :param packages: whose versions the result depends on, besides those of all algorithms
    :param arguments: of the constructor, where they are not the defaults
    """

    name: str
    policy: str
    packages: tuple[str, ...] = ()
    arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def model_class(self) -> type[OffPolicyAlgorithm]:
        """The class."""
        found: type[OffPolicyAlgorithm] = pkgutil.resolve_name(self.name)
        return found

    @property
    def installed(self) -> bool:
        """Whether its package is there."""
        return find_spec(self.name.partition(":")[0]) is not None

    def make(self, env: gym.Env[Any, Any] | str, **arguments: Any) -> OffPolicyAlgorithm:
        """
        A new model, on the CPU.

        :param env: environment or its id
        :param arguments: of the constructor, in place of those of this entry
        """
        own = copy.deepcopy(self.arguments)  # SB3 writes into the dictionaries that it is given
        return self.model_class(self.policy, env, **{"device": "cpu", **own, **arguments})

    def versions(self) -> dict[str, str]:
        """Versions of Python and of the packages that the result depends on."""
        packages = ("stable-baselines3", "gymnasium", "numpy", "torch", *self.packages)
        return {"python": platform.python_version(), **{name: version(name) for name in packages}}

    def defaults(self) -> dict[str, str]:
        """Default values of the arguments of the algorithm and of its policy."""
        return {
            f"{function.__name__}({name})": getattr(parameter.default, "__name__", str(parameter.default))
            for function in (self.model_class, self.model_class.policy_aliases[self.policy])
            for name, parameter in inspect.signature(function).parameters.items()
            if parameter.default is not parameter.empty
        }


CONTRIB, SBX = ("sb3-contrib",), ("sbx-rl", "jax")
SMALL_CRITICS = {"policy_kwargs": {"net_arch": {"pi": [256, 256], "qf": [256, 256]}}}
# The Zoo's settings of MaxEntLQR-v0 (zoo_configs/flowsac.yml), for one environment and at a constant learning rate
LQR = {
    "learning_rate": 1e-3,
    "batch_size": 512,
    "learning_starts": 200,
    "train_freq": 8,
    "n_next_actions": 4,
    "actor_batch_size": 128,
    "policy_delay": 1,
    "actor_loss": "isfm",
    "sampling_distribution": "defensive",
    "policy_kwargs": {
        "squash_output": False,
        "net_arch": [64, 64],
        "critic": "quadratic",
        "n_critics": 1,
        "ode_steps": 2,
        "density": "trace",
        "log_std_init": -1.4,
    },
}


def flowsac(**arguments: Any) -> Algorithm:
    """FlowSAC with these arguments in place of defaults."""
    return Algorithm("sb3_flowsac:FlowSAC", "FlowPolicy", ("sb3-flowsac",), arguments)


QUANTILES = {"n_quantiles": 25, "top_quantiles_to_drop_per_net": 2}  # TQC's
ALGORITHMS = {
    "flowsac": flowsac(),
    "flowsac_lqr": flowsac(**LQR),
    "flowsac_gaussian": flowsac(actor_loss="pathwise"),
    "flowsac_isfm": flowsac(actor_loss="isfm"),
    "flowsac_untempered": flowsac(min_effective_proposals=1.0),
    "flowsac_network": flowsac(policy_kwargs={"critic": "network"}),
    "flowsac_layer_norm": flowsac(policy_kwargs={"critic": "layer_norm"}),
    "flowsac_quantiles": flowsac(policy_kwargs={"critic_kwargs": QUANTILES}),
    "sac": Algorithm("stable_baselines3:SAC", "MlpPolicy"),
    "sac_lr1e-3": Algorithm("stable_baselines3:SAC", "MlpPolicy", arguments={"learning_rate": 1e-3}),
    "tqc": Algorithm("sb3_contrib:TQC", "MlpPolicy", CONTRIB),
    "crossq": Algorithm("sb3_contrib:CrossQ", "MlpPolicy", CONTRIB),
    "crossq_256": Algorithm("sb3_contrib:CrossQ", "MlpPolicy", CONTRIB, SMALL_CRITICS),
    "sbx_crossq": Algorithm("sbx:CrossQ", "MlpPolicy", SBX),
}
