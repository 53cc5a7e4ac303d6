"""Admission arithmetic, with every threshold hit exactly."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from xmesh_mesh.encoder import Vector
from xmesh_mesh.record import FIELDS
from xmesh_mesh.svaf import Drift, FieldDrift, Thresholds, evaluate, temporal_drift, weight_of

EAST = np.array([1.0, 0.0])
NORTH = np.array([0.0, 1.0])
WEST = np.array([-1.0, 0.0])

# A pair whose cosine is one half without any rounding.
HALF_EAST = np.array([1.0, 0.0, 0.0, 0.0])
HALF = np.array([1.0, 1.0, 1.0, 1.0])


def at(cosine: float) -> Vector:
    """Return a unit vector with that cosine to EAST."""
    return np.array([cosine, math.sqrt(1.0 - cosine * cosine)])


def focus(drift: Drift) -> FieldDrift:
    return drift.fields[0]


def judge(
    vector: Vector, *anchors: Vector, age_s: float = 0.0, rule: Thresholds | None = None
) -> Drift:
    known = [{"focus": anchor} for anchor in anchors]
    return evaluate({"focus": vector}, known, {}, age_s, rule or Thresholds())


def test_the_thresholds_are_the_deployed_ones() -> None:
    rule = Thresholds()
    assert (rule.stable, rule.guarded, rule.redundant) == (0.25, 0.5, 0.1)
    assert (rule.temporal_lambda, rule.freshness_s) == (0.3, 1800.0)


def test_age_alone_drifts_from_nothing_towards_one() -> None:
    assert temporal_drift(0.0, 1800.0) == 0.0
    assert temporal_drift(-5.0, 1800.0) == 0.0
    assert temporal_drift(1800.0, 1800.0) == 1.0 - math.exp(-1.0)
    assert temporal_drift(3600.0, 1800.0) > temporal_drift(1800.0, 1800.0)
    assert temporal_drift(1e9, 1800.0) == 1.0


def test_a_weight_that_is_missing_or_zero_is_one() -> None:
    assert (weight_of({}, "focus"), weight_of({"focus": 0}, "focus")) == (1.0, 1.0)
    assert weight_of({"focus": 2.5, "mood": 9.0}, "focus") == 2.5


class TestColdStart:
    def test_nothing_known_admits_what_is_new(self) -> None:
        drift = judge(EAST)
        assert (drift.decision, drift.total, drift.max_nearest) == ("aligned", 0.0, None)
        assert focus(drift) == FieldDrift("focus", "silent", None, None, None, 1.0)

    def test_nothing_known_guards_what_is_old(self) -> None:
        assert judge(EAST, age_s=1e9).total == 0.3
        assert judge(EAST, age_s=1e9).decision == "guarded"
        assert judge(EAST, age_s=1800.0).total == 0.3 * (1.0 - math.exp(-1.0))

    @pytest.mark.parametrize("anchor", [NORTH, WEST, np.zeros(2), np.array([1.0, 0.0, 0.0])])
    def test_what_cannot_be_compared_counts_as_unknown(self, anchor: Vector) -> None:
        assert focus(judge(EAST, anchor)).verdict == "silent"
        assert judge(EAST, anchor).max_nearest is None

    def test_a_text_without_a_vector_is_silent(self) -> None:
        assert focus(judge(np.zeros(2), EAST)).verdict == "silent"
        assert evaluate({}, [{"focus": EAST}], {}, 0.0).fields[0].verdict == "silent"
        assert evaluate({"focus": EAST}, [{"mood": EAST}], {}, 0.0).max_nearest is None

    def test_the_faintest_relation_is_none(self) -> None:
        assert focus(judge(EAST, at(0.99e-8))).verdict == "silent"
        assert focus(judge(EAST, at(1e-8))).verdict == "reject"
        # The bound is on the weighted sum, so a heavy field hears more.
        heavy = evaluate({"focus": EAST}, [{"focus": at(0.9e-8)}], {"focus": 2.0}, 0.0)
        assert heavy.fields[0].verdict == "reject"


class TestFields:
    def test_all_seven_are_judged_in_order(self) -> None:
        assert tuple(field.field for field in judge(EAST, EAST).fields) == FIELDS

    @pytest.mark.parametrize(
        ("cosine", "verdict"),
        [
            (1.0, "redundant"),
            (0.91, "redundant"),
            (0.89, "admit"),
            (0.76, "admit"),
            (0.74, "guard"),
            (0.51, "guard"),
            (0.49, "reject"),
        ],
    )
    def test_the_verdict_follows_the_drift(self, cosine: float, verdict: str) -> None:
        assert focus(judge(EAST, at(cosine))).verdict == verdict

    @pytest.mark.parametrize(
        ("rule", "verdict"),
        [
            (Thresholds(redundant=0.5), "guard"),
            (Thresholds(redundant=0.500001), "redundant"),
            (Thresholds(stable=0.5), "admit"),
            (Thresholds(stable=0.499999), "guard"),
            (Thresholds(guarded=0.5), "guard"),
            (Thresholds(guarded=0.499999), "reject"),
        ],
    )
    def test_a_drift_on_a_bound_is_in_the_nearer_band(self, rule: Thresholds, verdict: str) -> None:
        drift = judge(HALF_EAST, HALF, rule=rule)
        assert (focus(drift).drift, focus(drift).nearest) == (0.5, 0.5)
        assert focus(drift).verdict == verdict

    def test_drift_is_against_the_mean_and_nearest_against_the_best(self) -> None:
        drift = focus(judge(EAST, at(0.6), at(0.8)))
        mean = (0.6 * at(0.6) + 0.8 * at(0.8)) / 1.4
        assert drift.drift == pytest.approx(1.0 - mean[0] / np.linalg.norm(mean))
        assert drift.nearest == pytest.approx(0.2)
        assert drift.nearest_index == 1

    def test_the_index_is_into_all_anchors_and_the_first_of_equals(self) -> None:
        known = [{"mood": EAST}, {"focus": at(0.5)}, {"focus": at(0.9)}, {"focus": at(0.9)}]
        drift = evaluate({"focus": EAST}, known, {}, 0.0)
        assert drift.fields[0].nearest_index == 2

    def test_opposed_anchors_pull_nothing(self) -> None:
        assert focus(judge(EAST, at(0.8), WEST, np.zeros(2))).drift == pytest.approx(0.2)

    def test_length_does_not_matter_to_the_angle(self) -> None:
        assert focus(judge(7.0 * EAST, 0.1 * at(0.8))).drift == pytest.approx(0.2)

    def test_an_identical_one_never_drifts_below_zero(self) -> None:
        vector = np.array([0.1, 0.2, 0.3])
        drift = judge(vector, vector, vector, vector)
        assert 0.0 <= drift.total < 1e-15
        assert 0.0 <= (focus(drift).nearest or 0.0) < 1e-15


class TestDecision:
    @pytest.mark.parametrize(
        ("rule", "decision"),
        [
            (Thresholds(temporal_lambda=0.0, stable=0.5), "aligned"),
            (Thresholds(temporal_lambda=0.0, stable=0.499999), "guarded"),
            (Thresholds(temporal_lambda=0.0, guarded=0.5), "guarded"),
            (Thresholds(temporal_lambda=0.0, guarded=0.499999), "rejected"),
            (Thresholds(temporal_lambda=0.0, redundant=0.5), "guarded"),
            (Thresholds(temporal_lambda=0.0, redundant=0.500001), "redundant"),
        ],
    )
    def test_a_total_on_a_bound_is_in_the_nearer_band(
        self, rule: Thresholds, decision: str
    ) -> None:
        drift = judge(HALF_EAST, HALF, rule=rule)
        assert (drift.total, drift.max_nearest) == (0.5, 0.5)
        assert drift.decision == decision

    def test_the_total_blends_content_and_age(self) -> None:
        drift = judge(HALF_EAST, HALF, age_s=900.0)
        assert drift.total == pytest.approx(0.7 * 0.5 + 0.3 * (1.0 - math.exp(-0.5)))

    def test_the_total_weighs_the_fields_that_spoke(self) -> None:
        incoming = {"focus": EAST, "mood": EAST, "issue": NORTH}
        anchor = {"focus": at(0.8), "mood": at(0.4), "issue": EAST}
        drift = evaluate(incoming, [anchor], {"focus": 3.0, "issue": 50.0}, 0.0)
        assert drift.total == pytest.approx(0.7 * (3.0 * 0.2 + 1.0 * 0.6) / 4.0)
        assert [field.weight for field in drift.fields] == [3.0, 50.0, 1.0, 1.0, 1.0, 1.0, 1.0]

    def test_one_new_field_makes_the_whole_new(self) -> None:
        incoming = {"focus": EAST, "mood": EAST}
        drift = evaluate(incoming, [{"focus": EAST, "mood": at(0.8)}], {}, 0.0)
        assert drift.decision == "aligned"
        assert drift.max_nearest == pytest.approx(0.2)

    def test_a_repetition_is_redundant_however_old(self) -> None:
        assert judge(EAST, EAST, age_s=1e9).decision == "redundant"

    def test_a_grounding_may_repeat_but_not_be_foreign(self) -> None:
        same = evaluate({"focus": EAST}, [{"focus": EAST}], {}, 0.0, grounded=True)
        assert (same.decision, same.fields[0].verdict) == ("aligned", "redundant")
        foreign = evaluate({"focus": EAST}, [{"focus": at(0.01)}], {}, 0.0, grounded=True)
        assert foreign.decision == "rejected"

    @given(
        st.lists(arrays(np.float64, 3, elements=st.floats(-1, 1)), min_size=1, max_size=5),
        st.floats(-10, 1e6),
        st.floats(0, 10),
    )
    def test_any_judgement_is_whole(self, known: list[Vector], age_s: float, weight: float) -> None:
        drift = evaluate(
            {"focus": known[0]}, [{"focus": one} for one in known[1:]], {"focus": weight}, age_s
        )
        assert 0.0 <= drift.total <= 2.0
        silent = focus(drift).verdict == "silent"
        assert silent == (drift.max_nearest is None) == (focus(drift).drift is None)
