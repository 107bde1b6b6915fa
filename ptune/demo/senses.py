"""Words of two senses: for each a gloss and the sentences that show it. Add a word with two senses to grow."""

from collections.abc import Mapping
from random import Random
from typing import NamedTuple


class Sense(NamedTuple):
    """A gloss, and templates in which the word stands in this sense, marked `word`."""

    gloss: str
    uses: tuple[str, ...]


def _senses(text: str) -> dict[str, tuple[Sense, Sense]]:
    """Blocks of `word = gloss / gloss`, then for each sense its uses, `1:` or `2:`, with `*` for the word."""
    table: dict[str, tuple[Sense, Sense]] = {}
    for block in text.strip().split("\n\n"):
        head, *lines = (line.strip() for line in block.splitlines())
        word, glosses = (part.strip() for part in head.split("="))
        senses = []
        for number, gloss in enumerate(glosses.split("/"), 1):
            uses = [line[2:].strip() for line in lines if line.startswith(f"{number}:")]
            marked = (use.replace("*s", f"<word {word}s >").replace("*", f"<word {word} >") for use in uses)
            senses.append(Sense(gloss.strip(), tuple(marked)))
        table[word] = (senses[0], senses[1])
    return table


SENSES: Mapping[str, tuple[Sense, Sense]] = _senses("""
    bank = the side of a river / a house for money
    1: {person} sat on the * and looked at the water .
    1: {plant.plural} grow along the * of {river} .
    1: the boat was tied to the * near {town} .
    1: after the flood the * was all mud .
    2: {person} took {number} crowns to the * .
    2: the * in {town} lent {company} the money .
    2: {person} opened an account at the * .
    2: two men robbed the * on {weekday} .

    bat = an animal of the night / a stick for a ball
    1: a * flew out of the {building} at night .
    1: the * hung from the roof of the barn and slept .
    1: {person} was afraid of the * in the cellar .
    1: the * eats flies in the dark .
    2: {person} hit the ball with the * .
    2: {person} bought a wooden * for the game .
    2: the * broke when {person} swung it .
    2: every player of {club} has a * of his own .

    bark = the skin of a tree / the noise of a dog
    1: the * of the oak is thick and brown .
    1: {person} cut a heart into the * .
    1: the goats ate the * from the young trees .
    1: under the * there were small flies .
    2: the * of the dog woke {person} .
    2: {person} heard a loud * behind the door .
    2: with one * the dog chased the thief away .
    2: the dog gave a short * and ran .

    ring = a piece of jewelry / the sound of a bell
    1: {person} put a golden * on her finger .
    1: the * was made of silver .
    1: {person} lost a wedding * in the garden .
    1: {person} gave {person2} a * with a red stone .
    2: the * of the telephone woke {person} .
    2: at the * of the bell the children ran out .
    2: {person} heard the * and went to the door .
    2: after the third * {person} answered the call .

    match = a game between two sides / a stick that makes fire
    1: {club.short} won the * against {club2.short} .
    1: {person} scored twice in the * on {weekday} .
    1: the * was lost in the last minute .
    1: the fans left before the end of the * .
    2: {person} lit the lamp with a * .
    2: the * was wet and did not burn .
    2: {person} struck a * in the dark .
    2: there was one * left in the box .

    spring = the time after winter / a place where water comes up
    1: in * the {plant.plural} are green again .
    1: {person} came back to {town} in the * .
    1: the days of * are mild .
    1: last * was cold and wet .
    2: {person} drank clear water from the * .
    2: the * under the rocks never runs dry .
    2: the water of the * is as cold as ice .
    2: the stream begins at a * near {town} .

    light = what makes it bright / not heavy
    1: the * of the lamp fell on the table .
    1: {person} turned on the * in the {room} .
    1: a * burned in the window of the {building} .
    1: the * of the sun woke {person} .
    2: the bag was so * that a child could lift it .
    2: {person} packed a * coat for the trip .
    2: paper is * and iron is not .
    2: the box felt * because it was empty .

    note = a short letter / a sound in music
    1: {person} left a * on the table .
    1: the * said that {person} would be late .
    1: {person} wrote a * to {person2} .
    1: {person} found a * under the door .
    2: {person} sang a high * .
    2: the first * of the song was wrong .
    2: the {instrument} could not hold the * .
    2: a low * came from the {instrument} .

    park = a garden for all / to leave a car
    1: the children played in the * .
    1: there are old trees in the * of {town} .
    1: {person} walked the dog in the * .
    1: the * closes at night .
    2: {person} could not * the truck near the {building} .
    2: you may not * in front of the hospital .
    2: {person} had to * the van in the yard .
    2: it is hard to * a bus in {town} .

    seal = an animal of the sea / a mark that closes a letter
    1: a * lay on the beach and looked at {person} .
    1: the * dived and caught a fish .
    1: the young * was white .
    1: from the ship {person} saw a * swim .
    2: the letter bore the * of the {job} .
    2: {person} broke the * and read the letter .
    2: the * was made of red wax .
    2: the contract had no * and was worth nothing .

    crane = a tall bird / a machine that lifts
    1: a * stood in the water on one leg .
    1: the * flew south before the snow .
    1: {person} saw the nest of a * near {river} .
    1: the * caught a frog .
    2: the * lifted the stones to the roof .
    2: {company} set up a * at the mill .
    2: the * fell over in the storm .
    2: {person} drives a * at the port .

    palm = a tree of the south / the inside of a hand
    1: a * stood in front of the hotel .
    1: {person} climbed the * for the nuts .
    1: the leaves of the * moved in the wind .
    1: {person} slept under a * on the beach .
    2: {person} held a coin in the * of his hand .
    2: the nail went into the * of her hand .
    2: {person} read the * of {person2} .
    2: the * of {person} was wet with sweat .

    plant = something green that grows / a factory
    1: the * needs water and sun .
    1: {person} put the * in a pot .
    1: the leaves of the * were brown .
    1: a small * grew between the stones .
    2: {company} opened a * in {town} .
    2: {number} people work at the * of {company} .
    2: the * makes {stuff} day and night .
    2: the workers of the * want more money .

    trunk = the body of a tree / a big box
    1: the * of the oak was two meters thick .
    1: {person} leaned on the * of a tree .
    1: the storm broke the * of the pear tree .
    1: a bird made its nest in the hollow * .
    2: {person} packed the clothes into a * .
    2: the * was too heavy to carry to the train .
    2: old letters lay at the bottom of the * .
    2: {person} closed the lid of the * .

    wave = moving water / to greet with the hand
    1: a high * hit the ship .
    1: the * threw {person} on the beach .
    1: the boat rose with every * .
    1: one * after the other came to the shore .
    2: {person} stopped to * to {person2} .
    2: the children * from the window .
    2: did you see {person} * to us ?
    2: they * when the train leaves .

    bill = what has to be paid / the mouth of a bird
    1: {person} paid the * for the meal .
    1: the * came to {number} crowns .
    1: {company} sent {person} a * .
    1: the * for the water was too high .
    2: the duck had a yellow * .
    2: the crow held a nut in its * .
    2: the bird cleaned its * in the sand .
    2: the goose opened its * and cried .

    nail = a pin of iron / the end of a finger
    1: {person} hit the * with the hammer .
    1: the picture hung from a * .
    1: {person} stepped on a rusty * .
    1: a * stuck out of the board .
    2: {person} bit a * because of the fear .
    2: {person} cut the * of her thumb .
    2: {person} broke a * on the door .
    2: the * on that finger was blue .

    pitch = a field for games / black stuff for boats
    1: the players ran onto the * .
    1: the * of {club} was wet after the rain .
    1: fans of {club.short} stood around the * .
    1: grass grows badly on the * in {town} .
    2: {person} painted the boat with * .
    2: the * was black and sticky .
    2: they boiled the * over the fire .
    2: {person} had * on both hands .
""")  # fmt: skip


def draw(random: Random) -> tuple[str, int]:
    """A word and the number of one of its senses."""
    return random.choice(tuple(SENSES)), random.randrange(2)
