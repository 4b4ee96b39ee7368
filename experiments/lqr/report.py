"""Tables of the case study's summary, and its report page."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.runner.tables import markdown_table
from experiments.runner.tasks import write_json, write_text
from experiments.runner.versions import machine, versions
from maxent_envs import LQRProblem

Row = Mapping[str, Any]


def write_summary(summary: Sequence[Row], out: Path) -> None:
    """
    Write ``summary.json`` (with versions and machine), ``summary.csv`` and ``summary.md``.

    :param summary: rows of ``full.summarize``
    :param out: folder for the files
    """
    write_json(out / "summary.json", {"versions": versions(), "machine": machine(), "rows": list(summary)})
    columns = list(dict.fromkeys(key for row in summary for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(summary)
    write_text(out / "summary.csv", text.getvalue())
    write_text(out / "summary.md", summary_table(summary) + "\n")


def summary_table(summary: Sequence[Row]) -> str:
    """
    The summary in Markdown: means over seeds with 95% confidence intervals.

    :param summary: rows of ``full.summarize``
    """

    def figure(row: Row, name: str, form: str) -> str:
        interval = f" ± {row[f'{name}_ci']:{form}}" if f"{name}_ci" in row else ""
        return f"{row[name]:{form}}{interval}"

    headings = ("alpha", "policy", "mean error", "covariance error", "return off by", "soft return below the optimum")
    shown = {"mean_error": ".2%", "cov_error": ".2%", "return_error": ".2%", "soft_gap": ".3f"}
    return markdown_table(
        headings,
        ([f"{row['alpha']:g}", row["algorithm"], *(figure(row, *pair) for pair in shown.items())] for row in summary),
    )


def spi_table(rows: Sequence[Row]) -> str:
    """
    Last policies of soft policy iteration in Markdown.

    :param rows: what ``run_spi`` returns
    """
    return markdown_table(
        ("alpha", "seed", "gain error", "mean error", "covariance error", "seconds"),
        (
            (
                f"{row['alpha']:g}",
                f"{row['seed']}",
                f"{row['flow']['gain_error'][-1]:.2%}",
                f"{row['mean_error']:.2%}",
                f"{row['cov_error']:.2%}",
                f"{row['seconds']:.0f}",
            )
            for row in rows
        ),
    )


def zero_temperature_table(rows: Sequence[Row]) -> str:
    """
    The limit of zero temperature in Markdown.

    :param rows: what ``run_zero_temperature`` returns
    """
    return markdown_table(
        ("alpha", "error of the gain", "spread (optimum's)", "return below that of -K x (optimum's)", "deterministic"),
        (
            (
                f"{row['alpha']:g}",
                f"{row['gain_error']:.2%}",
                f"{row['spread']:.4f} ({row['optimal_spread']:.4f})",
                f"{row['loss']:.4f} ({row['optimal_loss']:.4f})",
                f"{row['deterministic_loss']:.4f}",
            )
            for row in rows
        ),
    )


def growing_table(rows: Sequence[Row]) -> str:
    """
    Growing systems in Markdown; what a run that failed did not reach is left out.

    :param rows: what ``run_growing`` returns
    """
    shown = {
        "mean_error": ".1%",
        "cov_error": ".1%",
        "return": ".2f",
        "optimal_return": ".2f",
        "ess": ".2f",
        "clip_fraction": ".2%",
        "updates": ".0f",
        "seconds": ".0f",
    }
    return markdown_table(
        ("states", "inputs", *(name.replace("_", " ") for name in shown), "failure"),
        (
            [
                f"{row['n_states']}",
                f"{row['n_inputs']}",
                *("" if row.get(name) is None else f"{row[name]:{form}}" for name, form in shown.items()),
                row["failure"] or "",
            ]
            for row in rows
        ),
    )


def robustness_table(rows: Sequence[Row]) -> str:
    """
    Losses of return under disturbances in Markdown.

    :param rows: what ``run_robustness`` returns
    """
    losses: dict[tuple[str, str], dict[str, str]] = {}
    for row in rows:
        found = losses.setdefault((row["label"], row["controller"]), {})
        found[f"{row['kind']} {row['magnitude']:g}"] = f"{row['loss']:.3f}"
    headings = next(iter(losses.values()))
    return markdown_table(
        ("policy", "controller", *headings), ([*names, *found.values()] for names, found in losses.items())
    )


def problem_text(problem: LQRProblem) -> str:
    """
    The problem's matrices, as a file for ``--problem`` holds them.

    :param problem: the problem
    """
    lines = "\n".join(f"    {key}: {value}" for key, value in problem.to_dict().items())
    return f"x' = A x + B u + w, reward -(x'Qx + u'Ru), initial and noise covariance, discount:\n\n{lines}"


def theorem2_text(content: Row) -> str:
    """
    Slopes of the Theorem 2 study beside the bound's.

    :param content: what ``run_theorem2`` returns
    """
    texts = []
    for key, name in (("n_samples", "log N"), ("renyi_4", "R_4")):
        slope = content["slopes"][key]["upper"]
        if slope is not None:
            interval = f"95% interval {slope['low']:.2f} to {slope['high']:.2f}"
            bound = f"the bound's is {content['bound'][key]:g}"
            texts.append(f"Slope of log W2^2 against {name}: {slope['value']:.2f} ({interval}); {bound}.")
    return " ".join(texts)


def write_report(parts: Mapping[str, str], command: str | None, out: Path) -> Path:
    """
    Write the report page, ``report.md``.

    :param parts: Markdown text of each part by its heading
    :param command: the command line that wrote it, if it was one
    :param out: folder for the page, beside its pictures
    :return: the page
    """
    used = ", ".join(f"{name} {number}" for name, number in versions().items())
    origin = "" if command is None else f"Written by\n\n    {command}\n\n"
    lines = ["# The LQR case study", f"{origin}Versions: {used}. Machine: {machine()}."]
    lines += [f"## {heading}\n\n{text}" for heading, text in parts.items()]
    path = out / "report.md"
    write_text(path, "\n\n".join(lines) + "\n")
    return path
