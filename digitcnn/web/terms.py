"""The terms that the page explains: in headers of tables, and where ``explain`` marks them.

The explanation is an element's ``title``; ``tooltips.js`` shows it on hover, focus and touch.
"""

from __future__ import annotations

import re

from markupsafe import Markup, escape

# In lower case.
TERMS = {
    "accuracy (95% interval)": "Share of right predictions, and the range in which the accuracy on "
    "all such digits lies, with 95% confidence",
    "augmentation": "Random changes to the training images, so that the model learns more forms",
    "bfloat16": "A 16-bit number format: less exact than the usual 32 bits, and faster",
    "brier": "Brier score: squared error of the probabilities, from 0 (best) to 2",
    "calibrated": "Adjusted so that predictions of 90% confidence are right nine times in ten",
    "chance level": "The deviation that random masks alone cause on these images",
    "dropout": "Switches off random neurons, so that no prediction depends on single ones",
    "ece": "Expected calibration error: how far confidence is from accuracy, on average",
    "entropy": "Uncertainty of a prediction, from 0 (certain) to 2.303 nats (all digits equally "
    "likely)",
    "f1": "Harmonic mean of precision and recall",
    "framing": "How a digit is placed in its 28x28 pixels: its size, and what is centred",
    "held-out": "Withheld from training to measure progress, often called validation",
    "holm-adjusted": "The p-value adjusted by Holm's method for the number of pairs compared",
    "macro-f1": "Mean F1 of the digits, each counting the same",
    "mcnemar": "p-value of the exact McNemar test: how likely so uneven a split of the images that "
    "only one model gets right is between equally good models",
    "mutual information": "The part of the uncertainty on which the passes disagree, in nats",
    "nats": "The unit of losses and uncertainties with the natural logarithm: a blind guess among "
    "ten digits has a loss of 2.303 nats",
    "near duplicates": "Test images that are almost the same as a training image",
    "nll": "Negative log-likelihood in nats: small where the true digit gets a high probability",
    "precision": "Share of the predictions of a digit that are right",
    "recall": "Share of a digit's images that are found",
    "std. deviation": "How much the accuracy varies between passes, in percentage points",
    "support": "Number of images of the digit",
    "temperature": "Divides the model's scores before they become probabilities; above 1 it lowers "
    "the confidence",
    "test sketches": "Twenty built-in drawings, two of each digit: whether the model suits the pad",
    "training accuracy": "On the training images as the last epoch showed them; augmentation makes "
    "them harder",
    "upper bound": "The largest deviation that independent masks can cause on this many images",
}

_WORD = re.compile(
    rf"(?<![\w-])(?:{'|'.join(sorted(map(re.escape, TERMS), key=len, reverse=True))})(?![\w-])",
    re.IGNORECASE,
)


def meaning(header: str) -> str:
    """Return what the term at the start of a header means; empty for a header without one."""
    found = _WORD.match(header)
    return TERMS[found.group().lower()] if found else ""


def explain(text: str) -> Markup:
    """Return ``text`` as HTML in which each term has its explanation where it first appears."""
    parts, end, known = [], 0, set()
    for found in _WORD.finditer(text):
        term = found.group().lower()
        if term in known:
            continue
        known.add(term)
        parts += [escape(text[end : found.start()]), _term(found.group(), TERMS[term])]
        end = found.end()
    return Markup("").join([*parts, escape(text[end:])])


def _term(word: str, about: str) -> Markup:
    template = '<button type="button" class="term" title="{}">{}</button>'
    return Markup(template).format(about, word)
