"""The three questions of RS5M's rating tool (Zhang et al. 2024), from 1 to 5, with words for each mark."""

from __future__ import annotations

from dataclasses import dataclass

MARKS = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Question:
    """A question: its name in tables, its title, what it asks, and what each mark from 1 to 5 means."""

    name: str
    title: str
    asks: str
    anchors: tuple[str, str, str, str, str]


QUESTIONS = (
    Question(
        "relevance_detail",
        "Relevance and detail",
        "Does the caption say what matters in this picture?",
        ("Poor: about something else", "Weak: hardly fits", "Fair: the main thing only", "Good", "Excellent"),
    ),
    Question(
        "hallucination",
        "Hallucination",
        "Does the caption name things that are not there?",
        ("Poor: mostly invented", "Weak: much invented", "Fair: some invented", "Good: a detail", "Excellent: nothing"),
    ),
    Question(
        "fluency",
        "Fluency",
        "Is the caption good language?",
        ("Poor: unreadable", "Weak: many faults", "Fair: a few faults", "Good", "Excellent"),
    ),
)
NAMES = tuple(question.name for question in QUESTIONS)
