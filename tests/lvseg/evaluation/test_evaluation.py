"""Means by hand over five slices of two patients; conftest.py has their figures."""

import math

import numpy as np
import pytest

from lvseg.data.sunnybrook import load_sunnybrook
from lvseg.evaluation import Evaluation, Spread, evaluate, score


def test_honest_means_count_every_contour(evaluation):
    scores = evaluation.scores("honest")
    assert (scores.contours, scores.counted, scores.missed) == (5, 5, 1)
    assert scores.dice == pytest.approx((1 + 0.6 + 0 + 2 / 3 + 0) / 5)
    assert scores.good_percent == pytest.approx(100 * 3 / 5)


def test_honest_distances_are_of_the_slices_on_which_something_is_found(evaluation):
    scores = evaluation.scores("honest")
    assert scores.measured == 4
    assert scores.apd_mm == pytest.approx((0 + 2 + 10 / 3 + 15) / 4)
    assert scores.hausdorff_mm == pytest.approx((0 + 4 + 10 + 20) / 4)


def test_honest_area_errors_take_a_missed_ventricle_for_minus_100_percent(evaluation):
    scores = evaluation.scores("honest")
    assert scores.area_error_percent == pytest.approx((0 + 0 - 100 + 100 + 0) / 5)
    assert scores.absolute_area_error_percent == pytest.approx(200 / 5)


def test_the_challenge_means_are_of_good_contours_alone(evaluation):
    scores = evaluation.scores("challenge")
    assert (scores.contours, scores.counted, scores.measured, scores.missed) == (5, 3, 3, 1)
    assert scores.dice == pytest.approx((1 + 0.6 + 2 / 3) / 3)
    assert scores.apd_mm == pytest.approx((0 + 2 + 10 / 3) / 3)
    assert scores.hausdorff_mm == pytest.approx((0 + 4 + 10) / 3)
    assert scores.area_error_percent == pytest.approx(100 / 3)


def test_the_challenge_counts_good_contours_among_all(evaluation):
    assert evaluation.scores("challenge").good_percent == pytest.approx(60)


def test_the_challenge_judges_outlines_and_the_honest_way_whole_masks(make_image):
    speck = np.zeros((40, 40), dtype=bool)
    speck[30:35, 20:30] = True
    evaluation = evaluate(lambda image: image.mask | speck, [make_image()])
    challenge, honest = evaluation.scores("challenge"), evaluation.scores("honest")
    assert (challenge.dice, challenge.hausdorff_mm, challenge.area_error_percent) == (1.0, 0.0, 0.0)
    assert (honest.dice, honest.area_error_percent) == (2 * 100 / 250, 50.0)
    assert challenge.apd_mm == honest.apd_mm == 0.0


def test_each_patient_has_the_means_of_its_own_slices(evaluation):
    honest = {patient.patient: patient.scores("honest") for patient in evaluation.patients}
    assert honest["SC-A-9"].dice == pytest.approx(1.6 / 3)
    assert honest["SC-A-10"].dice == pytest.approx(1 / 3)
    assert (honest["SC-A-9"].missed, honest["SC-A-10"].missed) == (1, 0)


def test_over_patients_each_patient_counts_once(evaluation):
    across = evaluation.across_patients("honest")
    assert across.patients == 2
    assert across.dice == Spread(
        mean=pytest.approx((1.6 / 3 + 1 / 3) / 2), sd=pytest.approx(0.2 / math.sqrt(2)), patients=2
    )
    assert across.good_percent.mean == pytest.approx((200 / 3 + 50) / 2)


def test_over_patients_the_challenge_averages_the_patients_good_contours(evaluation):
    across = evaluation.across_patients("challenge")
    assert across.dice.mean == pytest.approx((1.6 / 2 + 2 / 3) / 2)
    assert across.apd_mm.mean == pytest.approx((2 / 2 + 10 / 3) / 2)


def test_a_patient_without_a_good_contour_has_no_challenge_dice(results):
    only_far_and_exact = Evaluation.of([results[0], results[4]])
    far, exact = sorted(only_far_and_exact.patients, key=lambda patient: patient.scores("honest").dice)
    assert (far.scores("challenge").dice, far.scores("challenge").good_percent) == (None, 0.0)
    across = only_far_and_exact.across_patients("challenge")
    assert across.dice == Spread(mean=exact.scores("challenge").dice, sd=None, patients=1)
    assert across.good_percent == Spread(mean=50.0, sd=pytest.approx(100 / math.sqrt(2)), patients=2)


def test_where_everything_is_missed_there_is_no_mean_distance(results):
    scores = score([results[2]], "honest")
    assert (scores.dice, scores.apd_mm, scores.hausdorff_mm, scores.measured) == (0.0, None, None, 0)


def test_the_areas_agree_within_196_standard_deviations(evaluation):
    # Differences 0, 0, -100, 100 and 0 mm²: their sample variance is 20000 / 4.
    areas = evaluation.areas
    assert (areas.slices, areas.bias_mm2) == (5, 0.0)
    assert areas.sd_mm2 == pytest.approx(math.sqrt(5000))
    assert areas.upper_limit_mm2 == pytest.approx(138.593, abs=1e-3)
    assert areas.lower_limit_mm2 == pytest.approx(-138.593, abs=1e-3)


def test_one_slice_has_a_bias_and_no_limits(results):
    areas = Evaluation.of(results[3:4]).areas
    assert (areas.bias_mm2, areas.sd_mm2, areas.lower_limit_mm2, areas.upper_limit_mm2) == (
        100.0,
        None,
        None,
        None,
    )


def test_patients_stand_in_the_order_of_their_numbers(results):
    names = [result.name for result in Evaluation.of(reversed(results)).results]
    assert names == ["SC-A-9/0001", "SC-A-9/0002", "SC-A-9/0003", "SC-A-10/0001", "SC-A-10/0002"]


def test_evaluations_of_parts_pool_into_that_of_the_whole(results, evaluation):
    first, second = Evaluation.of(results[:3]), Evaluation.of(results[3:])
    assert Evaluation.of((*second.results, *first.results)) == evaluation


def test_the_worst_slices_come_first_and_the_larger_ventricle_among_equals(make_image):
    small, large = make_image("SC-A-1", 1), make_image("SC-A-1", 2, spacing=(2.0, 2.0))
    fine = make_image("SC-A-1", 3)
    evaluation = evaluate(lambda image: image.mask & (image is fine), [fine, small, large])
    assert [result.image for result in evaluation.worst(3)] == [large, small, fine]
    assert [result.image for result in evaluation.worst(1)] == [large]


def test_each_slice_is_predicted_once_and_compared_with_its_own_label(make_image):
    images = [make_image("SC-A-1", number) for number in (3, 1, 2)]
    seen = []

    def predict(image):
        seen.append(image.name)
        return image.mask.astype(np.uint8) * (image.name != "SC-A-1/0002")

    evaluation = evaluate(predict, iter(images))
    assert seen == ["SC-A-1/0003", "SC-A-1/0001", "SC-A-1/0002"]
    assert [(result.name, result.dice) for result in evaluation.results] == [
        ("SC-A-1/0001", 1.0),
        ("SC-A-1/0002", 0.0),
        ("SC-A-1/0003", 1.0),
    ]


def test_the_slice_with_an_o_contour_is_end_diastole_and_the_other_of_its_place_end_systole(make_image):
    place, elsewhere = (1.0, 2.0, 3.0), (1.0, 2.0, 11.0)
    images = [
        make_image("SC-A-1", 1, position=place),
        make_image("SC-A-1", 2, position=place, epicardium=True),
        make_image("SC-A-1", 3, position=elsewhere),
        make_image("SC-A-1", 4),
        make_image("SC-A-2", 1, position=place),
        make_image("SC-A-2", 2, epicardium=True),
    ]
    evaluation = evaluate(lambda image: image.mask, images)
    assert [result.phase for result in evaluation.results] == ["ES", "ED", None, None, None, "ED"]


def test_nothing_to_evaluate_is_an_error():
    with pytest.raises(ValueError, match="nothing to evaluate"):
        evaluate(lambda image: image.mask, [])


def test_nothing_to_score_is_an_error():
    with pytest.raises(ValueError, match="nothing to score"):
        score([], "honest")


def test_the_real_patients_have_as_many_slices_at_end_diastole_as_at_end_systole(sunnybrook):
    evaluation = evaluate(lambda image: image.mask, load_sunnybrook(sunnybrook, sunnybrook).images)
    phases = [result.phase for result in evaluation.results]
    assert (phases.count("ED"), phases.count("ES"), phases.count(None)) == (37, 37, 0)
    assert evaluation.scores("honest").dice == 1.0
