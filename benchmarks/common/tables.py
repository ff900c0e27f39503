"""Tables of figures as Markdown and HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

_STYLE = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem}td,th{padding:.2rem .6rem;\
text-align:right;border-bottom:1px solid #ddd}td:first-child,th:first-child{text-align:left}\
img{max-width:100%}"


class Table:
    """One table, for Markdown and HTML."""

    def __init__(self, title: str, head: Sequence[str], rows: list[list[str]]) -> None:
        self.title, self.head, self.rows = title, head, rows

    def markdown(self) -> str:
        lines = [f"## {self.title}", "", f"| {' | '.join(self.head)} |"]
        lines.append("|" + "---|" * len(self.head))
        return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in self.rows), ""])

    def html(self) -> str:
        def line(cells: Sequence[str], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{escape(c)}</{tag}>" for c in cells) + "</tr>"

        body = "".join(line(row, "td") for row in self.rows)
        head = line(self.head, "th")
        return f"<h2>{escape(self.title)}</h2><table><thead>{head}</thead>{body}</table>"


def write_pages(
    file: Path,
    heading: str,
    notes: Sequence[str],
    tables: Sequence[Table],
    pictures: Sequence[str] = (),
) -> None:
    """Write FILE.md and FILE.html.

    Args:
        file: without its ending.
        heading, notes: above the tables; each note is a line.
        tables: those without rows are left out.
        pictures: names of files beside it.
    """
    tables = [table for table in tables if table.rows]
    text = [f"# {heading}", "", *(f"- {note}" for note in notes), ""]
    text += [table.markdown() for table in tables]
    text += [f"![{name}]({name})" for name in pictures]
    file.with_suffix(".md").write_text("\n".join([*text, ""] if pictures else text))
    body = f"<h1>{escape(heading)}</h1><ul>"
    body += "".join(f"<li>{escape(note)}</li>" for note in notes) + "</ul>"
    body += "".join(table.html() for table in tables)
    body += "".join(f'<p><img src="{name}" alt="{name}"></p>' for name in pictures)
    file.with_suffix(".html").write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(heading)}</title>'
        f"<style>{_STYLE}</style><body>{body}</body></html>"
    )
