"""FlowSAC and its environments in the RL Zoo (extra ``zoo``): registered in place, run by the Zoo's own functions."""

import argparse
import difflib
import glob
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium as gym
from huggingface_sb3 import EnvironmentName
from rl_zoo3.exp_manager import ExperimentManager
from rl_zoo3.utils import ALGOS

import maxent_envs  # noqa: F401  (its import registers the environments)
from sb3_flowsac import FlowSAC
from sb3_flowsac import cli_types as types
from sb3_flowsac.callbacks import ResumableCheckpoint

ALGO = "flowsac"
DEFAULT_ENV = "MaxEntLQR-v0"
RESUME_FREQ = 10_000
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

    ``--resume FOLDER`` and ``--resume-freq N`` are ours: checkpoints from which the same command goes on.

    :param argv: arguments of the Zoo's ``train``, and ours
    """
    register()
    import rl_zoo3.train as zoo

    parser = _peeking_parser("train")
    parser.add_argument("-conf", "--conf-file", default="")
    parser.add_argument("--seed", type=int, default=-1)
    parser.add_argument("-optimize", "--optimize-hyperparameters", action="store_true")
    ours = _resume_parser()
    resume, argv = ours.parse_known_args(argv)
    given, _ = parser.parse_known_args(argv)
    if given.help:
        print(ours.format_help())
    else:
        _check_env(parser, given)
        _check_conf_file(parser, given)
        _check_resume(parser, given, resume)
    defaults = ["--algo", ALGO, "--env", DEFAULT_ENV]
    if given.algo == ALGO:
        defaults += ["--conf-file", str(config_file())]
    if resume.resume is None:
        _hand_over("train", zoo.train, [*defaults, *argv])
    else:
        with _resuming(zoo, resume.resume, resume.resume_freq or RESUME_FREQ):
            _hand_over("train", zoo.train, [*defaults, *argv])


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


def _resume_parser() -> argparse.ArgumentParser:
    """A parser of the arguments that the Zoo's ``train`` does not know."""
    usage = "flowsac train [--resume FOLDER [--resume-freq N]] [arguments of the RL Zoo's train, listed below]"
    parser = argparse.ArgumentParser(prog="flowsac train", usage=usage, add_help=False, allow_abbrev=False)
    parser.add_argument(
        "--resume",
        metavar="FOLDER",
        type=types.folder,
        help="keep checkpoints here, and go on from the latest; needs --seed",
    )
    parser.add_argument(
        "--resume-freq",
        metavar="N",
        type=types.positive_int,
        help=f"steps between two checkpoints (default: {RESUME_FREQ})",
    )
    return parser


def _check_resume(parser: argparse.ArgumentParser, given: argparse.Namespace, resume: argparse.Namespace) -> None:
    """End with a message where the same command would not be the same run."""
    if resume.resume is None:
        if resume.resume_freq is not None:
            parser.error("argument --resume-freq: needs --resume FOLDER")
        return
    if given.algo != ALGO:
        parser.error(f"argument --resume: only for --algo {ALGO}, got {given.algo!r}")
    if given.optimize_hyperparameters:
        parser.error("argument --resume: not with --optimize-hyperparameters, which is many runs")
    if given.seed < 0:
        parser.error("argument --resume: needs --seed, a whole number of at least 0; the Zoo draws another at each start")


@contextmanager
def _resuming(zoo: ModuleType, checkpoints: Path, steps: int) -> Iterator[None]:
    """Let the Zoo's ``train`` add a ``ResumableCheckpoint`` to the callbacks that it makes itself."""

    class ResumableExperimentManager(ExperimentManager):
        def create_callbacks(self) -> None:
            self.callbacks.insert(0, ResumableCheckpoint(checkpoints, max(steps // self.n_envs, 1)))
            super().create_callbacks()

    zoo.ExperimentManager = ResumableExperimentManager  # type: ignore[attr-defined]
    try:
        yield
    finally:
        zoo.ExperimentManager = ExperimentManager  # type: ignore[attr-defined]


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
