"""Tables of a report as text: Markdown, LaTeX (booktabs) and CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

from ptune.reports.tables import Sheet

WORDS = ("method", "task", "backbone", "settings", "metric", "run", "against", "space")  # columns of text
SETTINGS = ("task", "backbone", "P", "seed", "majority", "metric")  # said once where all rows agree
LEFT_OUT = ("stored", "bytes", "run", "space")  # of a table in a paper
JOINED = {"score": "std", "last": "last std"}  # a mean and its deviation
SIGNED = re.compile(r"[-+][\d.]+|\[[-+.\d]+, [-+.\d]+\]")  # a minus is no hyphen
THOUSANDS = re.compile(r"\d{1,3}(,\d{3})+")
ESCAPED = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"$<$",
    ">": r"$>$",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def factor_out_shared(sheet: Sheet) -> tuple[Sheet, list[str]]:
    """A table without the settings that all of its rows share, and what they are."""
    values = {column: [row[i] for row in sheet.rows] for i, column in enumerate(sheet.columns)}
    same = [c for c in SETTINGS if c in values and len(sheet.rows) > 1 and len({*values[c]}) == 1]
    return sheet.without(same), [f"{column} {values[column][0]}" for column in same if values[column][0]]


def markdown(sheet: Sheet) -> str:
    """A Markdown table, with its notes below."""
    lines = [
        sheet.columns,
        ["---"] + ["---:"] * (len(sheet.columns) - 1),
        *([cell.replace("|", "\\|") for cell in row] for row in sheet.rows),
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines) + "".join(f"\n{note}\n" for note in sheet.notes)


def latex(sheet: Sheet) -> str:
    """A table environment for the package booktabs: mean and deviation in one column, the notes as its caption."""
    sheet, told = factor_out_shared(sheet.without([*sheet.empty, *LEFT_OUT]))
    place = {column: i for i, column in enumerate(sheet.columns)}
    columns = [column for column in sheet.columns if column not in JOINED.values()]

    def cell(row: Sequence[str], column: str) -> str:
        text, deviation = row[place[column]], place.get(JOINED.get(column, ""))
        if deviation is not None and row[deviation]:
            return f"${text} \\pm {row[deviation]}$"
        return f"${text}$" if SIGNED.fullmatch(text) else escape_latex(text)

    said = [*([f"all with {', '.join(told)}"] if told else []), *sheet.notes]
    caption = ". ".join(escape_latex(note[:1].upper() + note[1:]) for note in said)
    body = [f"{' & '.join(cell(row, column) for column in columns)} \\\\" for row in sheet.rows]
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{caption}.}}" if caption else "",
        rf"\begin{{tabular}}{{{''.join('l' if column in WORDS else 'r' for column in columns)}}}",
        r"\toprule",
        f"{' & '.join(escape_latex(column) for column in columns)} \\\\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "".join(f"{line}\n" for line in lines if line)


def escape_latex(text: str) -> str:
    """A text with everything that LaTeX would take for its own."""
    return "".join(ESCAPED.get(character, character) for character in text)


def comma_separated(sheet: Sheet) -> str:
    """CSV with a header, for programs: numbers without separators, and two columns, low and high, for an interval."""
    out = io.StringIO()
    writer = csv.writer(out)
    columns = [[plain(row[i]) for row in sheet.rows] for i in range(len(sheet.columns))]
    written = []
    for name, cells in zip(sheet.columns, columns, strict=True):
        if name.startswith("95%"):
            bounds = [cell.strip("[]").split(", ") if cell else ["", ""] for cell in cells]
            written += [[f"{name} {side}", *(pair[i] for pair in bounds)] for i, side in enumerate(("low", "high"))]
        else:
            written.append([name, *cells])
    writer.writerows(zip(*written, strict=True))
    return out.getvalue()


def plain(cell: str) -> str:
    """A number without its separators of thousands; any other text as it is."""
    return cell.replace(",", "") if THOUSANDS.fullmatch(cell) else cell
