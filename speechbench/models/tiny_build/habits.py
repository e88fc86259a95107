"""The embedded base's own habits of wording, which are not the benchmarks'.

A real base model knows a language but not the way a benchmark's references are worded: in arXiv 2509.16990 it is
there that the base loses most. So after it has learned the tasks, the embedded model also meets other right
ways to say the same: German with another order of time, place and object, and answers in a word or two.
The meaning, and so the score of `slots`, is the same in all of them.
"""

from __future__ import annotations

import random

from speechbench.benchmarks.mini.grammar import QUESTIONS, SLOTS, VALUES, Meaning

# How often each order is met: (the references' own, place before time, time first or last the other way round,
# object first), for sentences that open with the time and for those that don't.
_ORDERS = {True: (0.6, 0.0, 0.2, 0.2), False: (0.3, 0.45, 0.15, 0.1)}
_SHORT_ANSWERS = 0.65


def german(meaning: Meaning, rng: random.Random) -> str:
    """A right German sentence, often in another order than the reference's."""
    order = rng.choices(range(4), _ORDERS[meaning.time_first])[0]
    if order == 0:
        return meaning.german()
    if order == 2:
        return Meaning(meaning.slots, not meaning.time_first).german()
    values = dict(zip(SLOTS, meaning.slots, strict=True))
    subject, verb, number, adjective, thing, place, time = (VALUES[slot][values[slot]] for slot in SLOTS)
    things = f"{number} {adjective} {thing}"
    text = (
        f"{subject} hat {place} {time} {things} {verb}."
        if order == 1
        else f"{things} hat {subject} {time} {place} {verb}."
    )
    return text[0].upper() + text[1:]


def answer(meaning: Meaning, question: int, rng: random.Random) -> str:
    """A right answer, often in a few words instead of a sentence."""
    full = meaning.question(question)[1]
    if rng.random() >= _SHORT_ANSWERS:
        return full
    values = dict(zip(SLOTS, meaning.slots, strict=True))
    asked = QUESTIONS[question][1]
    short = f"{values['number']} {values['adjective']} {values['object']}" if asked == "object" else values[asked]
    return short[0].upper() + short[1:] + "."
