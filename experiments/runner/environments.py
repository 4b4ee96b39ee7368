"""What an environment asks of every algorithm: the discount factor and the temperature of its problem."""

from typing import Any

ARGUMENTS: dict[str, dict[str, Any]] = {
    "MaxEntLQR-v0": {"gamma": 0.95, "ent_coef": 1.0},
    "BoltzmannBandit-v0": {"ent_coef": 0.1},
    "MultiGoal-v0": {"ent_coef": 1.0},
}
"""Arguments of the constructor by id of the environment; there are none for environments that it does not name."""
