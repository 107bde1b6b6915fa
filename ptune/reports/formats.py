"""Tables of a report as text: Markdown, LaTeX (booktabs) and CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence

from ptune.reports.tables import Sheet

WORDS = ("method", "task", "backbone", "settings", "metric", "run", "against", "space")  # columns of text
SETTINGS = ("task", "backbone", "P", "seed", "majority", "metric")  # said once where all rows agree
LEFT_OUT = ("stored", "bytes", "run", "space")  # of a table in a paper
ROW = ("cell", "method", "task", "backbone", "P", "settings", "seed")  # columns that name a row
PAGE = 92  # characters of a line of a page in footnotesize
JOINED = {"score": "std", "last": "last std"}  # a mean and its deviation
MATH = re.compile(r"[-+][\d.]+|\[[-+.\d]+, [-+.\d]+\]|[-+\d.]+ ± [\d.]+")  # a minus is no hyphen
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
    shared = [c for c in SETTINGS if c in values and len(sheet.rows) > 1 and len({*values[c]}) == 1]
    return sheet.without(shared), [f"{column} {values[column][0]}" for column in shared if values[column][0]]


def blocks(widths: Mapping[str, int], width: int) -> Iterator[list[str]]:
    """The columns of each table that one of more than this width is parted into; what names a row is repeated, as far
    as two thirds of the width go.
    """
    names: list[str] = []
    for column in ROW:
        if column in widths and 3 * sum(widths[name] for name in (*names, column)) <= 2 * width:
            names.append(column)
    block: list[str] = []
    for column in widths:
        wider = sum(widths[name] for name in {*block, column}) > width
        if wider and [name for name in block if name not in names]:
            yield block
            block = [*names]
        block += [column] * (column not in block)
    yield block


def markdown(sheet: Sheet) -> str:
    """A Markdown table, with its notes below."""
    lines = [
        sheet.columns,
        ["---"] + ["---:"] * (len(sheet.columns) - 1),
        *([cell.replace("|", "\\|") for cell in row] for row in sheet.rows),
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines) + "".join(f"\n{note}\n" for note in sheet.notes)


def latex(sheet: Sheet) -> str:
    """A table environment for the package booktabs: mean and deviation in one column, the notes as its caption. Columns
    for which a page has no room follow below the others.
    """
    sheet, shared = factor_out_shared(sheet.without([*sheet.empty, *LEFT_OUT]))
    place = {column: i for i, column in enumerate(sheet.columns)}

    def cell(row: Sequence[str], column: str) -> str:
        text, deviation = row[place[column]], place.get(JOINED.get(column, ""))
        if deviation is not None and row[deviation]:
            return f"{text} ± {row[deviation]}"
        return text

    notes = [*([f"all with {', '.join(shared)}"] if shared else []), *sheet.notes]
    caption = ". ".join(escape_latex(note[:1].upper() + note[1:]) for note in notes)
    cells = {column: [cell(row, column) for row in sheet.rows] for column in place if column not in JOINED.values()}
    widths = {column: 3 + max(map(len, (column, *texts))) for column, texts in cells.items()}
    tabulars = [tabular({column: cells[column] for column in block}) for block in blocks(widths, PAGE)]
    head = [r"\begin{table}", r"\centering", *([rf"\caption{{{caption}.}}"] if caption else []), r"\footnotesize"]
    return "\n".join([*head, "\n\n\\medskip\n".join(tabulars), r"\end{table}"]) + "\n"


def tabular(columns: Mapping[str, Sequence[str]]) -> str:
    """The columns of a table as LaTeX."""

    def typeset(text: str) -> str:
        return f"${text}$".replace("±", r"\pm") if MATH.fullmatch(text) else escape_latex(text)

    lines = [
        rf"\begin{{tabular}}{{{''.join('l' if column in WORDS else 'r' for column in columns)}}}",
        r"\toprule",
        f"{' & '.join(map(escape_latex, columns))} \\\\",
        r"\midrule",
        *(f"{' & '.join(map(typeset, row))} \\\\" for row in zip(*columns.values(), strict=True)),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines)


def escape_latex(text: str) -> str:
    """A text with everything that LaTeX would take for its own."""
    return "".join(ESCAPED.get(character, character) for character in text)


def comma_separated(sheet: Sheet) -> str:
    """CSV with a header, for programs: numbers without separators, and two columns, low and high, for an interval."""
    out = io.StringIO()
    writer = csv.writer(out)
    columns = [[plain(row[i]) for row in sheet.rows] for i in range(len(sheet.columns))]
    header = []
    for name, cells in zip(sheet.columns, columns, strict=True):
        if name.startswith("95%"):
            bounds = [cell.strip("[]").split(", ") if cell else ["", ""] for cell in cells]
            header += [[f"{name} {side}", *(pair[i] for pair in bounds)] for i, side in enumerate(("low", "high"))]
        else:
            header.append([name, *cells])
    writer.writerows(zip(*header, strict=True))
    return out.getvalue()


def plain(cell: str) -> str:
    """A number without its separators of thousands; any other text as it is."""
    return cell.replace(",", "") if THOUSANDS.fullmatch(cell) else cell
