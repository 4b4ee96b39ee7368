"""The command ``flowsac``. What a subcommand needs is imported when it runs, so that the help comes at once."""

import argparse
import ast
import difflib
import importlib.util
import shlex
import sys
import traceback
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import shtab

from sb3_flowsac.version import __version__

if TYPE_CHECKING:
    from maxent_envs import LQRProblem
    from sb3_flowsac.algorithm import FlowPolicy, FlowSAC

COMMON_TASKS = """\
common tasks:
  flowsac lqr                            learn a max-entropy LQR and compare with its known optimum (minutes)
  flowsac lqr --problem my_lqr.yml --out my_lqr   the same for a system of your own
  flowsac train --env Pendulum-v1 -P     train on an environment with the RL Zoo
  flowsac enjoy --env Pendulum-v1        watch the model that train has saved
  flowsac enjoy --pretrained Hopper-v5   or an agent of the repository
  flowsac record --env MultiGoal-v0      or a video of one
  flowsac show pendulum.zip              pictures of a saved model's policy
  flowsac export pendulum.zip pendulum.onnx --deterministic   its policy for programs without torch
"""
PRETRAINED = "--pretrained"  # with this, enjoy is ours
COMPLETION = "--print-completion"
INTERRUPTED = 130  # what a shell reports of a program that Ctrl-C has ended
OWN_COMMANDS = {
    "lqr": "learn a max-entropy LQR and compare with its known optimum",
    "show": "draw a saved model's policy",
    "export": "write a saved model's policy in ONNX",
    "push": "upload a saved model's policy to the Hugging Face hub",
}
ZOO_COMMANDS = {
    "train": "train with the RL Zoo; every option of its train is accepted",
    "tune": "search for hyperparameters with the RL Zoo and Optuna; every option of its train is accepted",
    "enjoy": "replay a trained model with the RL Zoo; every option of its enjoy is accepted",
    "plot": "draw the RL Zoo's plots of runs: plot_train, all_plots or plot_from_file",
    "record": "record a video of a trained model; every option of the RL Zoo's record_video is accepted",
}
ZOO_PLOTS = {
    "plot_train": "returns during training",
    "all_plots": "evaluations, as curves, table and file for plot_from_file",
    "plot_from_file": "curves from the file of all_plots",
}
# Modules of the extra "zoo" that a subcommand needs beyond those that all need
ZOO_MODULES = {"plot": ["seaborn"], "record": ["moviepy"]}


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run the command line. A wrong argument ends it with one line that says what is wrong.

    :param argv: arguments; those of the process if None
    :return: exit code
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    verb = arguments[0] if arguments else None
    try:
        if verb in ZOO_COMMANDS and not any(argument.startswith(PRETRAINED) for argument in arguments):
            _run_zoo(verb, arguments[1:])  # before any parsing: the arguments are the Zoo's to read
            return 0
        parser = build_parser(zoo_options=any(argument.startswith(COMPLETION) for argument in arguments))
        if verb is None:
            parser.print_help()
            return 0
        known = [*OWN_COMMANDS, *ZOO_COMMANDS]
        if verb not in known and (near := difflib.get_close_matches(verb, known)):
            parser.error(f"unknown command {verb!r}; did you mean {' or '.join(near)}?")
        options = parser.parse_args(arguments, Namespace(command_line=shlex.join(["flowsac", *arguments])))
        return int(options.run(options) or 0)
    except (AssertionError, ImportError, LookupError, OSError, TypeError, ValueError) as error:
        # In an environment or a callback of the user's only the traceback says where
        if {"collect_rollouts", "step"} & {frame.name for frame in traceback.extract_tb(error.__traceback__)}:
            raise
        cause = repr(error) if isinstance(error, LookupError) else error  # which names the key alone
        sys.exit(f"flowsac {verb}: error: {cause or type(error).__name__}")


def build_parser(zoo_options: bool = False) -> ArgumentParser:
    """
    Build the parser of every subcommand.

    :param zoo_options: with the options of the Zoo's commands, for completion, where the Zoo is installed; to run,
        these commands need their names alone, as the Zoo reads its own options
    """
    parser = ArgumentParser(
        prog="flowsac",
        description="Soft actor-critic with flow-matching policies for Stable-Baselines3.\n\n" + COMMON_TASKS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"flowsac {__version__}")
    shtab.add_argument_to(parser, COMPLETION, help="print the completion for a shell, see docs/install.md")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    ways = ((_add_lqr, _run_lqr), (_add_show, _run_show), (_add_export, _run_export), (_add_push, _run_push))
    for (name, summary), (add, run) in zip(OWN_COMMANDS.items(), ways, strict=True):
        subparser = commands.add_parser(name, help=summary)
        subparser.set_defaults(run=run, parser=subparser)
        add(subparser)
    for name, summary in ZOO_COMMANDS.items():
        parents = _zoo_parsers(name) if zoo_options and name != "plot" else []
        subparser = commands.add_parser(
            name, help=summary, add_help=name in ("enjoy", "plot"), parents=parents, conflict_handler="resolve"
        )
        if name == "enjoy":
            subparser.set_defaults(run=_run_enjoy, parser=subparser)  # the only one whose options are read here
            _add_enjoy(subparser)
        if name == "plot":
            subparser.usage = "%(prog)s NAME [arguments of the RL Zoo's plot]; %(prog)s NAME --help lists them"
            plots = subparser.add_subparsers(dest="plot", metavar="NAME", required=True)
            for plot, what in ZOO_PLOTS.items():
                parents = _zoo_parsers(plot) if zoo_options else []
                plots.add_parser(plot, help=what, add_help=False, parents=parents)
    return parser


def _zoo_parsers(verb: str) -> list[ArgumentParser]:
    """The parser of a command of the Zoo, none where the Zoo is not installed."""
    if _missing_modules("plot"):
        return []
    from sb3_flowsac import zoo

    return [zoo.parser_of(verb)]


def _missing_modules(verb: str) -> list[str]:
    """What a command of the Zoo needs and is not installed."""
    needed = ["rl_zoo3", "requests", *ZOO_MODULES.get(verb, [])]
    return [module for module in needed if importlib.util.find_spec(module) is None]


def _run_zoo(verb: str, arguments: Sequence[str]) -> None:
    """Hand over to the RL Zoo, or say how to install it."""
    if missing := _missing_modules(verb):
        sys.exit(
            f"flowsac {verb}: this needs the RL Zoo ({' and '.join(missing)} not installed)\n"
            'install it with: pip install "sb3-flowsac[zoo]"'
        )
    if verb == "plot":
        verb, arguments = build_parser().parse_args([verb, *arguments[:1]]).plot, arguments[1:]
    from sb3_flowsac import zoo

    zoo.run(verb, arguments)


@contextmanager
def _errors_of(options: Namespace, argument: str, *kinds: type[Exception]) -> Iterator[None]:
    """End the command with a message that names an argument where one of these errors is raised."""
    try:
        yield
    except kinds as error:
        options.parser.error(f"argument {argument}: {error}")


def _add_lqr(parser: ArgumentParser) -> None:
    parser.description = (
        "Train FlowSAC on MaxEntLQR-v0 for each temperature and seed, and compare with the known optimum. "
        "A run whose result is kept in DIR is not repeated: the same command goes on where an earlier one has ended."
    )
    parser.add_argument(
        "--alpha", type=float, nargs="+", default=[0.1, 0.5], help="temperatures, positive (default: 0.1 0.5)"
    )
    parser.add_argument("--seed", type=int, nargs="+", default=[0], help="random seeds (default: 0)")
    system = parser.add_mutually_exclusive_group()
    presets = (
        "a system of the package: default, scalar, unstable, six-state, or of the literature: aircraft-pitch, "
        "boeing-747, cart-pendulum, dc-motor, double-integrator, mass-chain, quadrotor"
    )
    system.add_argument("--preset", metavar="NAME", help=presets)
    file = system.add_argument("--problem", metavar="FILE", help="a system of your own: YAML, JSON or NPZ")
    file.complete = shtab.FILE  # type: ignore[attr-defined]
    random = "a random stabilizable system of a size"
    system.add_argument("--random", type=int, nargs=3, metavar=("STATES", "INPUTS", "SEED"), help=random)
    steps = "environment steps of a run (default: what the study is tuned for)"
    parser.add_argument("--timesteps", type=int, metavar="N", help=steps)
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at the same time (default: 1)")
    results = "folder for the results (default: flowsac_lqr)"
    out = parser.add_argument("--out", type=Path, metavar="DIR", default=Path("flowsac_lqr"), help=results)
    out.complete = shtab.DIRECTORY  # type: ignore[attr-defined]


def _run_lqr(options: Namespace) -> int:
    """Run the study and return the exit code, 1 if a run has failed; Ctrl-C ends it with a word on how to go on."""
    from sb3_flowsac.lqr_study.study import run_study

    arguments = {"problem": _chosen_problem(options), "alphas": options.alpha, "seeds": options.seed}
    try:
        with _errors_of(options, "--out", OSError):
            rows = run_study(**arguments, timesteps=options.timesteps, jobs=options.jobs, out=options.out)
    except KeyboardInterrupt:
        print(
            f"\nInterrupted. Finished runs are in {options.out}. To go on from there, the same command:\n"
            f"  {options.command_line}",
            file=sys.stderr,
        )
        return INTERRUPTED
    return int(any(row.get("verdict") == "failed" for row in rows))


def _chosen_problem(options: Namespace) -> "LQRProblem":
    """The system to learn; the command ends with a message if it is unknown or no valid problem."""
    from maxent_envs import load_problem, preset, random_problem

    if options.problem is not None:
        with _errors_of(options, "--problem", ValueError, OSError):
            return load_problem(Path(options.problem))
    if options.random is not None:
        with _errors_of(options, "--random", ValueError):
            return random_problem(*options.random)
    with _errors_of(options, "--preset", ValueError):
        return preset("default" if options.preset is None else options.preset)


def _add_show(parser: ArgumentParser) -> None:
    parser.description = (
        "Pictures of a saved model: the density of its actions in three states, their paths from noise, its importance "
        "weights, the optimum where it is known, and the learning curve if a Monitor's or EvalCallback's files are "
        "beside it."
    )
    _add_model(parser)
    parser.add_argument("--env", metavar="ID", help="environment whose states are shown (default: the space's samples)")
    kwargs = "its arguments, such as alpha:0.5; flowsac lqr prints those of its models"
    parser.add_argument("--env-kwargs", type=_keyword, nargs="+", default=[], metavar="NAME:VALUE", help=kwargs)
    pictures = "folder for the pictures (default: one beside MODEL, opened if there is a display)"
    out = parser.add_argument("--out", type=Path, metavar="DIR", help=pictures)
    out.complete = shtab.DIRECTORY  # type: ignore[attr-defined]


def _run_show(options: Namespace) -> None:
    from sb3_flowsac.show import LEARNING_CURVE, PAGE, show, states

    if options.env_kwargs and options.env is None:
        options.parser.error("argument --env-kwargs: there is no environment without --env")
    saved = _saved_model(options)
    kwargs = dict(options.env_kwargs)
    with _errors_of(options, "--env", ValueError, LookupError, ImportError):
        obs, task = states(saved, options.env, kwargs)
    source = f"a rollout in {options.env} {kwargs or ''}" if options.env else "the observation space"
    with _errors_of(options, "--out", OSError):
        pictures = show(saved, options.model, obs, task, options.out, source)
    for picture in pictures:
        print(picture)
    print(f"All on one page: {pictures[0].with_name(PAGE)}")
    if LEARNING_CURVE not in {picture.stem for picture in pictures}:
        print("No learning curve: no file of a Monitor or an EvalCallback lies beside the model")


def _add_export(parser: ArgumentParser) -> None:
    parser.description = "Write what predict does as an ONNX file, see export_onnx. It needs the extra export."
    _add_model(parser)
    parser.add_argument("out", type=Path, metavar="OUT", help="the ONNX file, replaced if there is one")
    deterministic = "predict deterministically, without noise as an input"
    parser.add_argument("--deterministic", action="store_true", help=deterministic)


def _run_export(options: Namespace) -> None:
    from sb3_flowsac.files import export_onnx
    from sb3_flowsac.files.loading import policy_of

    policy = policy_of(_saved_model(options))
    with _errors_of(options, "OUT", OSError):
        export_onnx(policy, options.out, options.deterministic)
    print(options.out)


def _add_push(parser: ArgumentParser) -> None:
    parser.description = "Upload a policy with its card, no pickles, to the Hugging Face hub; first: hf auth login."
    _add_model(parser)
    parser.add_argument("repo_id", metavar="USER/REPOSITORY", help="repository on the hub, made if there is none")


def _run_push(options: Namespace) -> None:
    """Upload a policy that can be loaded, the three files of ``save_policy`` alone."""
    from huggingface_hub import HfApi  # of the extra zoo

    from sb3_flowsac.files.loading import policy_of
    from sb3_flowsac.files.policy_folder import CARD, CONFIG, WEIGHTS, save_policy

    policy = policy_of(_saved_model(options))
    with TemporaryDirectory() as temporary:
        folder = options.model if options.model.is_dir() else temporary
        if folder == temporary:
            save_policy(policy, folder)
        print(HfApi().create_repo(options.repo_id, exist_ok=True))
        HfApi().upload_folder(repo_id=options.repo_id, folder_path=folder, allow_patterns=[CARD, CONFIG, WEIGHTS])


def _add_enjoy(parser: ArgumentParser) -> None:
    """Declare the options of ``flowsac enjoy --pretrained``; without it the Zoo reads its own."""
    parser.description = "Play a trained agent of the repository and print its return beside that of its model card."
    parser.add_argument(PRETRAINED, required=True, metavar="ENV", help="an environment that has a folder in agents/")
    parser.add_argument("--episodes", type=int, default=5, metavar="N", help="how many (default: 5)")
    parser.add_argument("--no-render", action="store_true", help="no window; there is none without a display")


def _run_enjoy(options: Namespace) -> None:
    import gymnasium as gym

    from sb3_flowsac.plotting.style import has_display
    from sb3_flowsac.pretrained import enjoy

    with _errors_of(options, PRETRAINED, gym.error.Error):  # of a simulator or a window that needs a further package
        print(enjoy(options.pretrained, options.episodes, has_display() and not options.no_render))


def _add_model(parser: ArgumentParser) -> None:
    what = "a zip file of FlowSAC.save (it holds pickles: only one that you trust), or a folder of save_policy"
    model = parser.add_argument("model", type=Path, metavar="MODEL", help=what)
    model.complete = shtab.FILE  # type: ignore[attr-defined]


def _saved_model(options: Namespace) -> "FlowSAC | FlowPolicy":
    """What MODEL names; the command ends with a message if it is no model of this package."""
    from sb3_flowsac.files.loading import load_saved

    parser: ArgumentParser = options.parser
    try:
        return load_saved(options.model)
    except FileNotFoundError:  # SB3's names a file that nobody has asked for, with .zip behind it
        parser.error(f"argument MODEL: there is no {options.model}")
    except Exception as error:  # whatever is in the file
        parser.error(f"argument MODEL: {options.model} cannot be loaded: {type(error).__name__}: {error}")


def _keyword(text: str) -> tuple[str, Any]:
    """Name and value of an argument as the RL Zoo writes it, ``alpha:0.5``, ``preset:unstable``: a literal or text."""
    name, colon, value = text.partition(":")
    if not (colon and name.isidentifier() and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME:VALUE")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value
