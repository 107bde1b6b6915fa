"""CommitmentBank: is the speaker of a passage committed to the clause that its last sentence embeds?"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random

from ptune.demo import claims, templates
from ptune.demo.grammar import Passage, Word, prose
from ptune.demo.recipe import Recipe, choose
from ptune.demo.rte import FILES, Example, write_split
from ptune.demo.world import World

SIZES: Mapping[str, int] = {"train": 250, "dev": 56, "test": 250}
VERDICTS = {"entailment": "true", "contradiction": "false", "neutral": "open"}
SHARES = {"entailment": 0.46, "contradiction": 0.46, "neutral": 0.08}


def write(recipe: Recipe, folder: Path) -> None:
    """Write `CB/{train,val,test}.jsonl`, the last without labels."""
    for split in FILES:
        write_split(
            folder / "CB" / FILES[split], examples(recipe, split, recipe.random(split)), labeled=split != "test"
        )


def examples(recipe: Recipe, split: str, random: Random) -> Iterator[Example]:
    """Passages and clauses; neutral is rare, as in the original."""
    labels, noise = list(SHARES), recipe.random(f"{split} noise")
    for index in range(recipe.sizes[split]):
        label = labels[index] if index < len(labels) else random.choices(labels, list(SHARES.values()))[0]
        yield _example(recipe, split, random, noise, label)


def _example(recipe: Recipe, split: str, random: Random, noise: Random, label: str) -> Example:
    world = recipe.part(split)
    claim, speaker = claims.draw(world, random), random.choice(world.entities["person"])
    if random.random() < 0.3:
        claim = claims.negated(claim, world, random) or claim
    passage = claims.bind(Passage(world, random, {"speaker": speaker}), claim)
    clause = claims.clause(claim, random, front=False)
    frame = choose(claims.FRAMES[VERDICTS[label]], split, random)
    lines = [_context(world, split, random) for _ in range(random.randint(0, recipe.difficulty.distractors))]
    lines.append(passage.words(frame.replace("CLAIM", clause)))
    hypothesis = prose(passage.words(clause))
    first = hypothesis.split()[0]
    if first in ("The", "It", "A", "An"):
        hypothesis = first.lower() + hypothesis[len(first) :]
    premise = " ".join(prose(recipe.noisy(line, noise)) for line in lines)
    return {"premise": premise, "hypothesis": hypothesis, "label": label}


def _context(world: World, split: str, random: Random) -> list[Word]:
    """A sentence of the passage before: talk, or something else that somebody knew or did not."""
    if random.random() < 0.4:
        speaker = random.choice(world.entities["person"])
        unrelated = Passage(world, random, {"speaker": speaker})
        return claims.framed(unrelated, claims.draw(world, random), random.choice(tuple(claims.FRAMES)), split)
    lines = random.choice((templates.REGISTERS["daily"], templates.REGISTERS["life"], templates.TALK))
    return Passage(world, random).words(choose(lines, split, random))
