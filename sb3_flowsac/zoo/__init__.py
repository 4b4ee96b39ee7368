"""FlowSAC and its environments in the RL Zoo (extra ``zoo``): registered in place, run by the Zoo's own programs."""

from sb3_flowsac.zoo.programs import parser_of, register, run
from sb3_flowsac.zoo.settings import config_file

__all__ = ["config_file", "parser_of", "register", "run"]
