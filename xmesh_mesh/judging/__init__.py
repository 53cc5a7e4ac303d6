"""The parts of the judge: what a text shows, how a message lies to what is known, what that means.

From the bottom up: ``cues`` (one text), ``rarity`` and ``everyday`` (what is said everywhere),
``situation`` (a message, a peer and what it knows), ``pairs`` (a message and one anchor),
``likeness`` and ``wording`` (a message and all that is known, by vectors and words), ``features``
(the whole view), ``trees`` (what scores are made of), ``decision`` (calibrated scores and bands),
``fit`` (a peer's own lessons), ``calibration`` (the numbers, one set for each kernel).
Everything here is pure; ``admission`` puts it together.
"""
