"""
Settings in Python: MaxEntLQR-v0's entry without what a search is to find, for `flowsac tune --conf-file
.../lqr_search.py`.

What an entry names stays as it is, so a search wants one that names less. The Zoo reads the dictionary `hyperparams` of
any Python file or module.
"""

import yaml
from torch import nn

from sb3_flowsac.zoo import config_file

entry = yaml.safe_load(config_file().read_text())["MaxEntLQR-v0"]
for name in ("learning_rate", "batch_size", "policy_delay", "sampling_distribution"):
    del entry[name]
# Without net_arch and ode_steps
entry["policy_kwargs"] = dict(
    squash_output=False,
    activation_fn=nn.SiLU,
    n_critics=1,
    critic="quadratic",
    density="trace",
    log_std_init=-1.4,
    optimizer_kwargs=dict(betas=(0.9, 0.99)),
)
hyperparams = {"MaxEntLQR-v0": entry}
