"""Tables of figures."""

from collections.abc import Iterable, Sequence

from rich.box import SIMPLE
from rich.table import Table


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """
    A table in Markdown.

    :param headings: of its columns
    :param rows: the cells of each row
    """
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headings, ["---"] * len(headings), *rows))


def table_of(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """
    A table of figures for the console.

    :param title: its title
    :param headings: of its columns
    :param rows: the cells of each row; missing ones stay empty
    """
    table = Table(title=title, box=SIMPLE, pad_edge=False)
    for heading in headings:
        table.add_column(heading, justify="right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table
