"""What a study leaves and shows of its results: a JSON file, a picture, tables."""

from collections.abc import Iterable
from pathlib import Path

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from experiments.runner.tasks import write_json
from sb3_flowsac.plotting import save_figure


def publish(name: str, content: object, figure: Figure, tables: Iterable[Table], out: Path, console: Console) -> None:
    """
    Write ``NAME.json`` and ``NAME.png`` to a folder, print tables and the names of the files.

    :param name: name of the files
    :param content: what JSON can hold
    :param figure: the picture
    :param tables: the tables
    :param out: the folder, made if needed
    :param console: where the tables are shown
    """
    results, picture = out / f"{name}.json", out / f"{name}.png"
    write_json(results, content)
    save_figure(figure, picture)
    for table in tables:
        console.print(table)
    print(f"Results: {results}\nPicture: {picture}")
