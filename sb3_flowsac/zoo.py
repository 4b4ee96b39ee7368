"""FlowSAC and its environments in the RL Zoo (extra ``zoo``): registered in place, run by the Zoo's own functions."""

import argparse
import difflib
import glob
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
from huggingface_sb3 import EnvironmentName
from rl_zoo3.utils import ALGOS

import maxent_envs  # noqa: F401  (its import registers the environments)
from sb3_flowsac import FlowSAC

ALGO = "flowsac"
DEFAULT_ENV = "MaxEntLQR-v0"
LOG_FOLDER = "logs"  # where the Zoo's train writes to; its enjoy would look elsewhere


class _FlowSACWithoutMemory(FlowSAC):
    """FlowSAC as a trained policy is replayed: loaded without room for experience, as the Zoo loads SAC."""

    @classmethod
    def load(cls, *args: Any, **kwargs: Any) -> Any:
        return super().load(*args, **{"buffer_size": 1, "optimize_memory_usage": False, **kwargs})


def register() -> None:
    """Make FlowSAC and the ``maxent_envs`` environments known to the Zoo; calling it again changes nothing."""
    ALGOS[ALGO] = FlowSAC


def config_file() -> Path:
    """
    Find the settings of FlowSAC for the Zoo: inside an installed package, beside it in a checkout.

    :return: path of ``flowsac.yml``
    """
    package = Path(__file__).resolve().parent
    installed = package / "zoo_configs" / "flowsac.yml"
    return installed if installed.is_file() else package.parent / "zoo_configs" / "flowsac.yml"


def train(argv: Sequence[str]) -> None:
    """
    Run the Zoo's ``train``. Unless given, the algorithm is FlowSAC, on ``MaxEntLQR-v0``, with the settings of this package.

    :param argv: arguments of the Zoo's ``train``
    """
    register()
    from rl_zoo3.train import train as zoo_train

    parser = _peeking_parser("train")
    parser.add_argument("-conf", "--conf-file", default="")
    given, _ = parser.parse_known_args(argv)
    if not given.help:
        _check_env(parser, given)
        _check_conf_file(parser, given)
    defaults = ["--algo", ALGO, "--env", DEFAULT_ENV]
    if given.algo == ALGO:
        defaults += ["--conf-file", str(config_file())]
    _hand_over("train", zoo_train, [*defaults, *argv])


def enjoy(argv: Sequence[str]) -> None:
    """
    Run the Zoo's ``enjoy``. Unless given, it replays FlowSAC's latest saved model on ``MaxEntLQR-v0`` in the folder ``logs``.

    :param argv: arguments of the Zoo's ``enjoy``
    """
    register()
    from rl_zoo3.enjoy import enjoy as zoo_enjoy

    parser = _peeking_parser("enjoy")
    parser.add_argument("-f", "--folder", default=LOG_FOLDER)
    parser.add_argument("--exp-id", type=int, default=0)
    given, _ = parser.parse_known_args(argv)
    argv = ["--algo", ALGO, "--env", DEFAULT_ENV, "--folder", LOG_FOLDER, *argv]
    if not given.help:
        _check_env(parser, given)
        if given.exp_id == 0 and "rl-trained-agents" not in given.folder:
            argv += ["--exp-id", str(_latest_run(parser, given))]
    ALGOS[ALGO] = _FlowSACWithoutMemory
    try:
        _hand_over("enjoy", zoo_enjoy, argv)
    finally:
        register()


def _peeking_parser(verb: str) -> argparse.ArgumentParser:
    """A parser of the few arguments on which defaults depend; every argument stays the Zoo's to read."""
    usage = f"flowsac {verb} [arguments of the RL Zoo's {verb}]; flowsac {verb} --help lists them"
    parser = argparse.ArgumentParser(prog=f"flowsac {verb}", usage=usage, add_help=False)
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--algo", default=ALGO)
    parser.add_argument("--env", default=DEFAULT_ENV)
    parser.add_argument("--gym-packages", nargs="*", default=[])
    return parser


def _check_env(parser: argparse.ArgumentParser, given: argparse.Namespace) -> None:
    """End with a message if no such environment is registered and none can be: the Zoo imports the packages it is given."""
    if given.env not in gym.registry and not given.gym_packages:
        near = difflib.get_close_matches(given.env, gym.registry, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "name the package that registers it with --gym-packages"
        parser.error(f"argument --env: unknown environment {given.env!r}; {hint}")


def _check_conf_file(parser: argparse.ArgumentParser, given: argparse.Namespace) -> None:
    """End with a message if the settings are to come from a file (and not from a Python package) that does not exist."""
    if given.conf_file.endswith((".yml", ".yaml", ".py")) and not Path(given.conf_file).is_file():
        parser.error(f"argument -conf/--conf-file: no such file: {given.conf_file}")


def _latest_run(parser: argparse.ArgumentParser, given: argparse.Namespace) -> int:
    """The highest number among the run folders that hold a saved model: an unfinished run or a search leaves one without."""
    env_name = EnvironmentName(given.env)
    folder = Path(given.folder) / given.algo
    runs = [run.name.rpartition("_")[2] for run in folder.glob(f"{glob.escape(env_name)}_[0-9]*") if any(run.glob("*.zip"))]
    numbers = [int(run) for run in runs if run.isdigit()]
    if not numbers:
        parser.error(
            f"argument -f/--folder: no saved model of {given.algo} on {given.env} in {folder}; "
            f"first: flowsac train --algo {given.algo} --env {given.env}"
        )
    return max(numbers)


def _hand_over(verb: str, function: Callable[[], None], argv: Sequence[str]) -> None:
    """Run a function of the Zoo, which reads its arguments from ``sys.argv``."""
    saved = sys.argv
    sys.argv = [f"flowsac {verb}", *argv]
    try:
        function()
    finally:
        sys.argv = saved
