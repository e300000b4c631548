import numpy as np

from dpcxr_core.config import EvaluationChoice
from dpcxr_core.evaluation.groups import MIN_COUNT
from dpcxr_core.evaluation.resampling.patients import resamples_of
from dpcxr_core.evaluation.scored_images import scored_images
from dpcxr_core.evaluation.transfer.resampled_scores import resampled_scores


def test_only_labelled_images_take_part_and_keep_their_weights(make_tables):
    scores, cohort = make_tables(n_patients=20, images_per_patient=2)
    scores.loc[(scores["finding"] == "pneumonia") & (scores["image_id"] == "north-00003"), "y_true"] = np.nan
    (images,) = scored_images(scores, cohort, EvaluationChoice())
    resamples = resamples_of(images.patient_ids, np.zeros(40), 5, np.random.default_rng(0))
    case_mix = np.array([str(i) for i in range(40)], dtype=object)
    found = resampled_scores(images, "pneumonia", case_mix, resamples)
    kept = np.delete(np.arange(40), 3)
    np.testing.assert_array_equal(found.y_true, images.y_true[kept, images.findings.index("pneumonia")])
    np.testing.assert_array_equal(found.y_score, images.y_score[kept, images.findings.index("pneumonia")])
    assert found.case_mix.tolist() == case_mix[kept].tolist()
    np.testing.assert_array_equal(found.weights, resamples.weights[:, resamples.patient_of_image[kept]])


def test_a_part_of_the_images_keeps_the_resamples_of_patients(make_resampled):
    whole = make_resampled([1, 0, 1, 0, 1, 0], np.linspace(0, 1, 6), patient_ids=list("aabbcc"))
    part = whole.only(whole.y_true == 1)
    np.testing.assert_array_equal(part.weights, whole.weights[:, [0, 2, 4]])
    assert part.y_score.tolist() == [0.0, 0.4, 0.8]


def test_few_positives_are_a_reason(make_resampled):
    few = make_resampled([1] * (MIN_COUNT - 1) + [0] * 30, np.linspace(0, 1, 29 + MIN_COUNT))
    assert few.too_few == "fewer than 10 positives"
    assert make_resampled([1] * MIN_COUNT + [0] * 30, np.linspace(0, 1, 30 + MIN_COUNT)).too_few == ""
