"""Pictures of policies and runs. Figures are made without pyplot: no window, no global state."""

from sb3_flowsac.plotting.curves import Curve, learning_curves, read_curve
from sb3_flowsac.plotting.density import action_density, density_against_target
from sb3_flowsac.plotting.lqr import action_distribution_figure, draw_actions
from sb3_flowsac.plotting.overview import policy_figures
from sb3_flowsac.plotting.paths import flow_paths
from sb3_flowsac.plotting.style import LEARNT, OPTIMAL, save_figure
from sb3_flowsac.plotting.weights import weights_histogram

__all__ = [
    "LEARNT",
    "OPTIMAL",
    "Curve",
    "action_density",
    "action_distribution_figure",
    "density_against_target",
    "draw_actions",
    "flow_paths",
    "learning_curves",
    "policy_figures",
    "read_curve",
    "save_figure",
    "weights_histogram",
]
