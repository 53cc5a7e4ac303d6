"""The parts of the judge: what a text shows, how a message lies to what is known, what that means.

From the bottom up: ``cues`` (one text), ``rarity`` and ``everyday`` (what is said everywhere),
``pairs`` (a message and one anchor), ``features`` (a message, a charter and all anchors), ``trees``
(what scores are made of), ``decision`` (calibrated scores and bands), ``fit`` (a peer's own
lessons), ``calibration`` (the numbers, one set for each kernel).
Everything here is pure; ``admission`` puts it together.
"""
