"""The E2E NLG corpus: a table of meaning representations, as name[...], and of one text for each (arXiv 1706.09254)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ptune.errors import DataError
from ptune.readers import Each, Record, delimited, strict

# Names of attributes in Prefix-Tuning's files; the others are the corpus's own.
NAMES = {"eatType": "Type", "priceRange": "price", "familyFriendly": "family friendly"}


def read(path: Path, joined: bool = False, each: Each = strict) -> Iterator[Record]:
    """Yield a record a row: table, "name : ... | Type : ..." as Prefix-Tuning writes it, mr as it is, and refs, [ref].

    joined: a record for all rows of the same mr, in the order of the first, with each of their texts in refs. Raises
    DataError where a row is none of the table, or its mr no attributes.
    """
    columns = {"mr": "mr", "ref": "ref"}
    mr_records: dict[str, Record] = {}
    for where, values, _ in delimited.read(path, ",", quoted=True, columns=columns, each=each):
        with each():
            mr, ref = values["mr"], values["ref"]
            if not ref.strip():
                raise DataError(f"{where}: nothing in 'ref'; each row needs a text")
            record = Record(where, {"table": linearized(mr, where), "mr": mr, "refs": [ref]})
            if not joined:
                yield record
            elif mr in mr_records:
                mr_records[mr].values["refs"].append(ref)
            else:
                mr_records[mr] = record
    yield from mr_records.values()


def linearized(mr: str, where: str) -> str:
    """Attributes as a line of text. Raises DataError for something else."""
    pairs = [pair_of(part) for part in mr.split("]")[:-1]]
    is_complete = all(name and value and "[" not in value for name, value in pairs)
    if not pairs or not is_complete or re.sub(r",\s+", ", ", mr.strip()) != re.sub(r",\s+", ", ", attributes(pairs)):
        raise DataError(f"{where}: {mr[:80]!r} is not a list of attributes such as name[Aromi], eatType[pub]")
    return " | ".join(f"{NAMES.get(name, name)} : {value}" for name, value in pairs)


def pair_of(part: str) -> tuple[str, str]:
    """Name and value of what stands before a closing bracket."""
    name_part, _, value = part.partition("[")
    return name_part.rpartition(",")[2].strip(), value


def attributes(pairs: Sequence[tuple[str, str]]) -> str:
    """Attributes as the corpus writes them."""
    return ", ".join(f"{name}[{value}]" for name, value in pairs)
