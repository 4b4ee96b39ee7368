"""
Tables and pictures of finished cells, by rliable: interquartile means with stratified bootstrap intervals (95%),
performance profiles, probabilities of improvement, curves against environment steps and against time.

Results of different budgets, settings or versions are refused.

    python -m experiments.control.report
    python -m experiments.control.report --results experiments/results/control --out docs/control --reference sac
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rliable import library, metrics

from experiments.control.results import Cells, common_environments, load, scores
from experiments.runner.figures import panels
from experiments.runner.tables import markdown_table
from experiments.runner.tasks import write_text
from sb3_flowsac.plotting import save_figure

REPETITIONS = 2000  # of the bootstrap
COLOURS = {"flowsac": "tab:blue", "sac": "tab:orange", "sac_lr1e-3": "tab:brown", "tqc": "tab:green"}
COLOURS |= {"crossq": "tab:purple", "crossq_256": "tab:red", "sbx_crossq": "tab:pink"}
COLOURS |= {"flowsac_gaussian": "tab:cyan", "flowsac_isfm": "tab:olive"}
PLAN = {"environments": 10, "seeds": 10, "steps": 1_000_000}  # of the study whose cost is reckoned
CORES, PRICE = 64, 0.04  # of a cluster; US dollars of a core hour, about what clouds ask without a contract
TIMES = {"steps": "environment steps", "processor_seconds": "processor time (s)", "wall_seconds": "wall time (s)"}


def summary(cells: Cells) -> pd.DataFrame:
    """A row for each environment and algorithm, as the RL Zoo's ``benchmark.md`` has it."""
    rows = []
    for (environment, algorithm), group in sorted(cells.items()):
        finals, settings = np.array([cell.final_return for cell in group]), group[0].settings
        rows.append(
            {
                "algo": algorithm,
                "env_id": environment,
                "mean_reward": finals.mean(),
                "std_reward": finals.std(ddof=1) if len(finals) > 1 else np.nan,
                "n_timesteps": settings["steps"],
                "eval_episodes": settings["eval_episodes"],
                "seeds": len(group),
                "processor_hours": np.mean([cell.curve["processor_seconds"].iloc[-1] for cell in group]) / 3600.0,
            }
        )
    return pd.DataFrame(rows)


def curve_table(cells: Cells, n_columns: int) -> str:
    """
    Returns after so many steps, in Markdown: mean over seeds and, of several, the lowest and the highest.

    :param cells: finished cells
    :param n_columns: number of evaluations to show, evenly over the run
    """
    steps = next(iter(cells.values()))[0].curve["steps"].to_numpy()
    columns = sorted({round((i + 1) * len(steps) / n_columns) - 1 for i in range(n_columns)} - {-1})
    rows = []
    for (environment, algorithm), group in sorted(cells.items()):
        returns = np.array([cell.curve["returns"].to_numpy()[columns] for cell in group]).T
        found = [
            f"{row.mean():,.0f}" + (f" ({row.min():,.0f} to {row.max():,.0f})" if len(row) > 1 else "")
            for row in returns
        ]
        seconds = np.mean([cell.curve["processor_seconds"].iloc[-1] for cell in group])
        rows.append([environment, algorithm, f"{len(group)}", *found, f"{seconds:,.0f}"])
    headings = ("environment", "algorithm", "seeds", *(f"{steps[i]:,}" for i in columns), "processor time (s)")
    return markdown_table(headings, rows)


def aggregates(cells: Cells, algorithms: Sequence[str], reference: str) -> pd.DataFrame:
    """Interquartile mean of the final scores, and the probability that the first algorithm improves on each other."""
    final = scores(cells, reference, algorithms)
    random_state = np.random.RandomState(0)
    means = library.get_interval_estimates(final, _interquartile_mean, reps=REPETITIONS, random_state=random_state)
    first, *others = algorithms
    pairs = {other: [final[first], final[other]] for other in others}
    better = library.get_interval_estimates(
        pairs, _probability_of_improvement, reps=REPETITIONS, random_state=random_state
    )
    rows = []
    for name in algorithms:
        row = {"algo": name, "seeds": len(final[name])}
        for label, (points, intervals) in (("iqm", means), ("improvement", better)):
            if name in points:
                low, high = np.asarray(intervals[name]).reshape(2)
                row |= {label: float(np.ravel(points[name])[0]), f"{label}_low": low, f"{label}_high": high}
        rows.append(row)
    return pd.DataFrame(rows)


def _interquartile_mean(values: np.ndarray) -> np.ndarray:
    return np.array([metrics.aggregate_iqm(values)])


def _probability_of_improvement(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    return np.array([metrics.probability_of_improvement(ours, theirs)])


def plan(cells: Cells) -> str:
    """
    What a study of the size of ``PLAN`` would cost, in Markdown. Processor time is taken to grow with the steps.

    :param cells: finished cells
    """
    times: dict[str, dict[str, float]] = {}
    for (environment, algorithm), group in sorted(cells.items()):
        seconds = np.mean([cell.curve["processor_seconds"].iloc[-1] / cell.settings["steps"] for cell in group])
        times.setdefault(algorithm, {})[environment] = float(seconds) * PLAN["steps"] / 3600.0
    runs = PLAN["environments"] * PLAN["seeds"]
    rows = []
    for algorithm, hours in times.items():
        longest, total = max(hours.values()), float(np.mean(list(hours.values()))) * runs
        wall = math.ceil(runs / CORES) * longest
        rows.append(
            [algorithm, ", ".join(hours), f"{longest:.1f}", f"{wall:.1f}", f"{total:,.0f}", f"{PRICE * total:,.0f}"]
        )
    headings = ("algo", "measured on", "hours a run", f"hours on {CORES} cores", "core hours", "US dollars")
    return (
        f"The cost of {PLAN['environments']} environments x {PLAN['seeds']} seeds x {PLAN['steps']:,} steps, from the "
        "processor time of these cells, evaluations left out. One core trains one run. The measured environments stand "
        "for the others: the slowest one for the hours, their mean for the core hours. A price of "
        f"{PRICE} US dollars a core hour is an assumption.\n\n{markdown_table(headings, rows)}\n"
    )


def curves_figure(cells: Cells, against: str) -> Figure:
    """
    Returns of all environments, a panel for each: the mean over seeds, a band from the lowest to the highest.

    :param cells: finished cells
    :param against: key of ``TIMES``; of seconds the mean over seeds
    """
    names = list(dict.fromkeys(environment for environment, _ in cells))
    figure, axes_of = panels(names)
    for (environment, algorithm), group in cells.items():
        x = np.mean([cell.curve[against] for cell in group], axis=0)
        returns, colour = np.array([cell.curve["returns"] for cell in group]), COLOURS.get(algorithm, "black")
        axes_of[environment].plot(x, returns.mean(0), color=colour, label=f"{algorithm} ({len(group)})")
        axes_of[environment].fill_between(x, returns.min(0), returns.max(0), color=colour, alpha=0.15, linewidth=0)
    for axes in axes_of.values():
        axes.set(xlabel=TIMES[against], ylabel="return")
        axes.legend(fontsize="x-small", title="algorithm (seeds)", title_fontsize="x-small")
    return figure


def scores_figure(cells: Cells, algorithms: Sequence[str], reference: str) -> Figure:
    """Interquartile mean of the scores against steps, and the performance profile of the final ones."""
    figure = Figure(figsize=(9.0, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    steps = next(iter(cells.values()))[0].curve["steps"].to_numpy()
    found = [scores(cells, reference, algorithms, column) for column in range(len(steps))]
    of_steps = {name: np.stack([row[name] for row in found], axis=-1) for name in algorithms}
    means, bands = library.get_interval_estimates(
        of_steps,
        lambda values: np.array([metrics.aggregate_iqm(values[..., i]) for i in range(len(steps))]),
        reps=REPETITIONS,
        random_state=np.random.RandomState(0),
    )
    final = scores(cells, reference, algorithms)
    thresholds = np.linspace(0.0, max(values.max() for values in final.values()), 81)
    profiles, intervals = library.create_performance_profile(final, thresholds, reps=REPETITIONS)
    for axes, x, lines, around in ((left, steps, means, bands), (right, thresholds, profiles, intervals)):
        for name in algorithms:
            axes.plot(x, lines[name], color=COLOURS.get(name, "black"), label=name)
            axes.fill_between(x, *around[name], color=COLOURS.get(name, "black"), alpha=0.15, linewidth=0)
    left.set(xlabel="environment steps", ylabel="interquartile mean of the scores")
    right.set(xlabel="score", ylabel="share of runs above it")
    left.legend(fontsize="small")
    return figure


def page(cells: Cells, algorithms: Sequence[str], reference: str, n_columns: int = 4) -> str:
    """The tables in Markdown."""
    table = summary(cells)
    rows = [
        [
            row.algo,
            row.env_id,
            f"{row.mean_reward:.0f}",
            "" if np.isnan(row.std_reward) else f"{row.std_reward:.0f}",
            f"{row.n_timesteps:,}",
            f"{row.seeds}",
            f"{row.processor_hours:.2f}",
        ]
        for row in table.itertuples()
    ]
    headings = ("algo", "env_id", "mean_reward", "std_reward", "n_timesteps", "seeds", "processor hours")
    text = (
        "Returns of the deterministic policy after so many environment steps: the mean over seeds, in brackets the "
        f"lowest and the highest seed.\n\n{curve_table(cells, n_columns)}\n\n"
        "Means of the last three evaluations: mean and standard deviation over seeds.\n\n"
        f"{markdown_table(headings, rows)}\n"
    )
    environments = common_environments(cells, [*algorithms, reference])
    if len(algorithms) < 2 or not environments:
        return text
    found = aggregates(cells, algorithms, reference)
    rows = [
        [row["algo"], f"{row['seeds']}", _interval(row, "iqm"), _interval(row, "improvement")]
        for row in found.to_dict("records")
    ]
    return (
        f"{text}\nScores over {', '.join(environments)}: 0 is the lowest evaluation of any run, 1 the mean final "
        f"return of {reference}. In brackets: 95% intervals of the stratified bootstrap.\n\n"
        + markdown_table(("algo", "seeds", "interquartile mean", f"probability that {algorithms[0]} is better"), rows)
        + "\n"
    )


def _interval(row: dict, label: str) -> str:
    if np.isnan(row[label]):
        return ""
    return f"{row[label]:.2f} ({row[f'{label}_low']:.2f} to {row[f'{label}_high']:.2f})"


def main() -> None:
    """Write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("experiments/results/control"), help="folder of the cells")
    parser.add_argument("--out", type=Path, default=Path("docs/control"), help="folder for the report")
    parser.add_argument("--algo", nargs="+", help="algorithms to aggregate, the first beside the others; default all")
    parser.add_argument("--reference", default="sac", help="algorithm whose mean final return has the score 1")
    parser.add_argument("--columns", type=int, default=4, help="evaluations in the table of returns")
    arguments = parser.parse_args()
    cells = load(arguments.results)
    algorithms = arguments.algo or sorted(
        {algorithm for _, algorithm in cells}, key=lambda name: (name != "flowsac", name)
    )
    out: Path = arguments.out
    text = f"{page(cells, algorithms, arguments.reference, arguments.columns)}\n{plan(cells)}"
    write_text(out / "report.md", text)
    write_text(out / "summary.csv", summary(cells).to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    for name in TIMES:
        save_figure(curves_figure(cells, name), out / f"curves_{name}.png")
    if len(algorithms) > 1 and common_environments(cells, [*algorithms, arguments.reference]):
        save_figure(scores_figure(cells, algorithms, arguments.reference), out / "scores.png")
    print(text)


if __name__ == "__main__":
    main()
