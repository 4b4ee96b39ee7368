"""
Trained agents from finished cells, one for each environment: a folder of ``save_policy`` whose model card names the
command of the training and the return of 100 episodes.

    python -m experiments.control --algo flowsac --env Pendulum-v1 --seed 0 1 --steps 10000 --jobs 2
    python -m experiments.control.agents --env Pendulum-v1
    flowsac enjoy --pretrained Pendulum-v1

Of several seeds the one whose last evaluations are best is taken, as its card says. Weights are kept in half precision.
"""

import argparse
from pathlib import Path

from huggingface_hub.repocard import metadata_eval_result, metadata_load, metadata_save
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

from experiments.control.cells import EVALUATION_SEED
from experiments.control.results import Finished, read
from sb3_flowsac.files import load_policy, save_policy
from sb3_flowsac.files.loading import load_saved, policy_of
from sb3_flowsac.files.policy_folder import CARD

ALGORITHMS = "flowsac*"  # with any settings


def finished_cells(results: Path, environment: str) -> list[Finished]:
    """
    The cells of FlowSAC on an environment that still have their model, the best first.

    :param results: folder of the matrix
    :param environment: its id
    :raises FileNotFoundError: if there is none
    """
    models = (results / environment).glob(f"{ALGORITHMS}/*/model.zip")
    cells = [read(path.with_name("result.json")) for path in sorted(models) if path.with_name("result.json").exists()]
    if not cells:
        raise FileNotFoundError(f"{results / environment} holds no finished cell {ALGORITHMS}/SEED with its model.zip")
    return sorted(cells, key=lambda cell: cell.final_return, reverse=True)


def facts(cell: Finished, seeds: list[int]) -> dict[str, str | float]:
    """
    What the model card says of the training.

    :param cell: whose model it is
    :param seeds: of all cells that it was chosen from
    """
    settings, result = cell.settings, cell.content["result"]
    options = {"algo": "algorithm", "env": "environment"}
    options |= {name.replace("_", "-"): name for name in ("seed", "steps", "eval_freq", "eval_episodes")}
    command = " ".join(f"--{option} {settings[name]}" for option, name in options.items())
    chosen = f", the best of {', '.join(map(str, sorted(seeds)))} in its last evaluations" if len(seeds) > 1 else ""
    return {
        "environment": settings["environment"],
        "environment steps": f"{settings['steps']:,}",
        "command": f"`python -m experiments.control {command}`",
        "seed": f"{settings['seed']}{chosen}",
        "arguments besides defaults": str(settings["arguments"] or "none"),
        "training": f"{result['processor_seconds']:,.0f} processor seconds at commit {result['revision']}",
        "versions in training": ", ".join(f"{name} {version}" for name, version in cell.content["versions"].items()),
        "weights": "in half precision, used in single",
    }


def write_agent(cell: Finished, said: dict[str, str | float], folder: Path, episodes: int) -> str:
    """
    Write an agent, and on its card the return of what was written.

    :param cell: finished, with its model
    :param said: what the model card says of the training
    :param folder: where to write
    :param episodes: number of episodes for the return
    :return: the return, "mean +/- standard deviation"
    """
    policy, environment = policy_of(load_saved(cell.path.with_name("model.zip"))).half(), cell.settings["environment"]
    save_policy(policy, folder)
    env = make_vec_env(environment, seed=EVALUATION_SEED)
    mean, std = evaluate_policy(load_policy(folder, device="cpu"), env, episodes)
    found = f"{mean:.2f} +/- {std:.2f}"
    save_policy(policy, folder, {f"return of {episodes} episodes, deterministic": found, **said})
    task, metric = "reinforcement-learning", "mean_reward"
    index = metadata_eval_result(
        model_pretty_name="FlowSAC",
        task_pretty_name=task,
        task_id=task,
        metrics_pretty_name=metric,
        metrics_id=metric,
        metrics_value=found,
        dataset_pretty_name=environment,
        dataset_id=environment,
    )
    metadata_save(folder / CARD, {**metadata_load(folder / CARD), **index})
    return found


def main() -> None:
    """Write the agents."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("experiments/results/control"), help="folder of the cells")
    parser.add_argument("--out", type=Path, default=Path("agents"), help="folder for the agents")
    parser.add_argument("--env", nargs="+", help="environments; by default all that have a finished cell")
    parser.add_argument("--episodes", type=int, default=100, help="episodes of the return on the card")
    arguments = parser.parse_args()
    found = sorted({path.parts[-4] for path in arguments.results.glob(f"*/{ALGORITHMS}/*/model.zip")})
    for environment in arguments.env or found:
        cells = finished_cells(arguments.results, environment)
        folder = arguments.out / environment
        said = facts(cells[0], [cell.settings["seed"] for cell in cells])
        result = write_agent(cells[0], said, folder, arguments.episodes)
        size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
        print(f"{folder}: return {result} in {arguments.episodes} episodes, {size:.2f} MB", flush=True)


if __name__ == "__main__":
    main()
