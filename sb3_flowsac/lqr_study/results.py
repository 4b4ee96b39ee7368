"""What a study leaves and shows of its results: a JSON file, a picture, tables."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from sb3_flowsac.lqr_study.tasks import write_json
from sb3_flowsac.plotting import save_figure


def table_of(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """
    A table of figures for the console.

    :param title: its title
    :param headings: of its columns
    :param rows: the cells of each row; missing ones stay empty
    """
    table = Table(title=title, box=SIMPLE, pad_edge=False)
    for heading in headings:
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*row)
    return table


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
