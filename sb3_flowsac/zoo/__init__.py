"""FlowSAC and its environments in the RL Zoo (extra ``zoo``): registered in place, run by the Zoo's own functions."""

from sb3_flowsac.zoo.registration import config_file, register
from sb3_flowsac.zoo.verbs import enjoy, plot, record, train, tune

__all__ = ["config_file", "enjoy", "plot", "record", "register", "train", "tune"]
