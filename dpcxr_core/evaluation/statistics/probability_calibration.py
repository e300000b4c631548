"""Whether scores mean what they say: Brier score, ECE, calibration slope and calibration-in-the-large."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, log_expit, logit

from dpcxr_core.config import UserError
from dpcxr_core.evaluation.statistics.ratio import ratio

# The largest float32 below 1 is 1 - 2**-24: a float32 sigmoid rounds every logit beyond that to certainty.
_NEAREST_TO_CERTAIN = 2.0**-24
_MOST_NEWTON_STEPS = 100
# The determinant of a resample with one distinct score is rounding, about 1e-16 of its terms.
_SINGULAR = 1e-12
_N_SUMS_BEHIND_BINS = 14


@dataclass(frozen=True, kw_only=True)
class Recalibration:
    """The logistic recalibration that fits one group's labels best.

    A positive has probability ``expit(intercept + slope * (logit(score) - centre))``.

    Attributes:
        slope: 1 for scores that are spread rightly, below 1 for scores too extreme; NaN where undefined.
        intercept: Log odds at the centre; NaN where the slope is.
        in_the_large: Log odds to add to every score, the slope held at 1: above 0 for scores too low on the
            whole. NaN without positives or negatives.
        centre: The group's mean logit: scores that hardly differ then leave the arithmetic well-conditioned.
        reason: Why the slope is NaN, or "".
    """

    slope: float
    intercept: float
    in_the_large: float
    centre: float
    reason: str


def pooled_bin_edges(y_score: ArrayLike, n_bins: int) -> NDArray[np.float64]:
    """Inner edges of bins that hold equally many of the pooled images; a bin holds its lower edge.

    Groups share these bins, so that two groups' ECE differ by what their scores mean and not by their bins.

    Args:
        y_score: ``(n_images,)`` scores of all groups together.
        n_bins: Bins wanted, at least 1; tied scores may leave fewer.

    Returns:
        ``(at most n_bins - 1,)``, rising.

    Raises:
        UserError: ``n_bins`` is below 1, there is no score, or one is not a probability.
    """
    y_score = np.asarray(y_score, dtype=float)
    if n_bins < 1:
        raise UserError(f"n_bins must be at least 1; got {n_bins}")
    if not y_score.size:
        raise UserError("bins need at least one score; got none")
    _check_probabilities(y_score)
    shares = np.arange(1, n_bins) / n_bins
    edges = np.unique(np.quantile(y_score, shares, method="higher"))
    return edges[edges > y_score.min()]


def recalibration(y_true: ArrayLike, y_score: ArrayLike) -> Recalibration:
    """The maximum-likelihood recalibration of one group's scores.

    Scores within 2**-24 of 0 or 1, where a float32 sigmoid stops telling logits apart, count as that near:
    their logit is limited to about 16.6 in size. Only this fit knows the limit; Brier score and ECE do not.

    Promise:
        Both intercepts and the slope make their score equations zero to rounding. The slope is NaN, never a
        large number, where no finite one fits best: one class is missing, all scores are equal, or a cut
        parts positives from negatives (ties at the cut allowed).

    Args:
        y_true: ``(n_images,)`` of 1, 0 and NaN; NaN is left out.
        y_score: ``(n_images,)`` probabilities where labelled.

    Raises:
        UserError: A labelled image has a score outside [0, 1].

    Source:
        Cox (1958), Biometrika 45, "Two further applications of a model for binary regression"; the names are
        those of Van Calster et al. (2019), BMC Medicine 17:230, "Calibration: the Achilles heel of predictive
        analytics". Separation: Albert and Anderson (1984), Biometrika 71.
    """
    y_true, y_score = np.asarray(y_true, dtype=float), np.asarray(y_score, dtype=float)
    labelled = ~np.isnan(y_true)
    is_positive, x = y_true[labelled] == 1, _limited_logit(y_score[labelled])
    undefined = Recalibration(slope=math.nan, intercept=math.nan, in_the_large=math.nan, centre=0.0, reason="")
    if is_positive.all() or not is_positive.any():
        return replace(undefined, reason="positives or negatives are missing")
    in_the_large = float(_newton(is_positive, np.ones((1, x.size)), offset=x)[0])
    reason = _no_finite_slope(x[is_positive], x[~is_positive])
    if reason:
        return replace(undefined, in_the_large=in_the_large, reason=reason)
    centre = float(x.mean())
    intercept, slope = _newton(is_positive, np.stack([np.ones_like(x), x - centre]), offset=np.zeros_like(x)).tolist()
    return Recalibration(slope=slope, intercept=intercept, in_the_large=in_the_large, centre=centre, reason="")


def calibration_features(
    y_true: ArrayLike, y_score: ArrayLike, edges: NDArray[np.float64], fit: Recalibration
) -> NDArray[np.float64]:
    """What each image adds to the sums that ``calibration_from_sums`` needs.

    Args:
        y_true: ``(n_images,)`` of 1, 0 and NaN, for one group: NaN outside the group too.
        y_score: ``(n_images,)`` probabilities where labelled.
        edges: From ``pooled_bin_edges``.
        fit: The group's ``recalibration``.

    Returns:
        ``(n_images, len(edges) + 15)`` float64, finite; zeros where ``y_true`` is NaN.

    Raises:
        UserError: A labelled image has a score outside [0, 1].
    """
    y_true, y_score = np.asarray(y_true, dtype=float), np.asarray(y_score, dtype=float)
    labelled = np.flatnonzero(~np.isnan(y_true))
    y, s = y_true[labelled], y_score[labelled]
    x = _limited_logit(s)
    n_bins = len(edges) + 1
    features = np.zeros((y_true.size, n_bins + _N_SUMS_BEHIND_BINS))
    features[labelled, np.searchsorted(edges, s, side="right")] = y - s
    features[labelled, n_bins] = 1
    features[labelled, n_bins + 1] = (y - s) ** 2
    if not math.isnan(fit.in_the_large):
        features[labelled, n_bins + 2 : n_bins + 5] = np.stack(_derivatives(y, fit.in_the_large + x), axis=1)
    if not math.isnan(fit.slope):
        centred = x - fit.centre
        g, h, t = _derivatives(y, fit.intercept + fit.slope * centred)
        terms = [g, g * centred, *(h * centred**k for k in range(3)), *(t * centred**k for k in range(4))]
        features[labelled, n_bins + 5 :] = np.stack(terms, axis=1)
    return features


def calibration_from_sums(sums: NDArray[np.float64], fit: Recalibration) -> dict[str, NDArray[np.float64]]:
    """``brier``, ``ece``, ``calibration_slope`` and ``calibration_in_the_large`` of every row of sums.

    ``brier`` is the mean squared distance of score and label; ``ece`` the mean over images of their bin's
    distance between mean score and share of positives. ECE lies above 0 by chance alone, the more so the
    smaller the group: compare groups with that in mind.

    Promise:
        Brier score and ECE are exact for whole weights. The sums of the data itself give ``fit`` to
        rounding. In a resample, slope and in-the-large are one step of Chebyshev's method from ``fit``
        (Newton's step and its second-order correction): off from a full refit by the third power of their
        distance to ``fit``, and finite even where the resample is separated. With a dozen positives the
        ends of an interval come out a tenth or two of its width too near.

    Args:
        sums: ``(..., K)`` weighted sums of ``calibration_features`` over a group.
        fit: The group's ``recalibration``, the same as there.

    Returns:
        Arrays ``(...)``; NaN where undefined.

    Source:
        ECE: Naeini et al. (2015), AAAI, with bins of equal mass. One-step bootstrap: Schucany and Wang (1991),
        JRSS B 53(3), "One-step bootstrapping for smooth iterative procedures".
    """
    residuals, others = sums[..., :-_N_SUMS_BEHIND_BINS], sums[..., -_N_SUMS_BEHIND_BINS:]
    n, squared, g, h, t = np.moveaxis(others[..., :5], -1, 0)
    step = ratio(g, h)
    return {
        "brier": ratio(squared, n),
        "ece": ratio(np.abs(residuals).sum(axis=-1), n),
        "calibration_slope": fit.slope + _slope_step(others[..., 5:]),
        "calibration_in_the_large": fit.in_the_large + step - ratio(t * step**2, 2 * h),
    }


def _derivatives(y: NDArray, eta: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """First, minus second and minus third derivative of each image's log likelihood by its log odds."""
    p = expit(eta)
    return y - p, p * (1 - p), p * (1 - p) * (1 - 2 * p)


def _slope_step(sums: NDArray) -> NDArray[np.float64]:
    """Chebyshev's step of the slope, from the sums of the derivatives times powers of the centred logit."""
    g0, g1, h0, h1, h2, t0, t1, t2, t3 = np.moveaxis(sums, -1, 0)
    determinant = h0 * h2 - h1**2
    determinant = np.where(determinant > _SINGULAR * h0 * h2, determinant, 0)
    step0 = ratio(h2 * g0 - h1 * g1, determinant)
    step1 = ratio(h0 * g1 - h1 * g0, determinant)
    bend0 = t0 * step0**2 + 2 * t1 * step0 * step1 + t2 * step1**2
    bend1 = t1 * step0**2 + 2 * t2 * step0 * step1 + t3 * step1**2
    return step1 - ratio(h0 * bend1 - h1 * bend0, 2 * determinant)


def _check_probabilities(y_score: NDArray) -> None:
    if not ((y_score >= 0) & (y_score <= 1)).all():
        raise UserError(
            f"scores must be probabilities in [0, 1]; found {y_score.min()} to {y_score.max()}. Pass no logits."
        )


def _limited_logit(y_score: NDArray) -> NDArray[np.float64]:
    _check_probabilities(y_score)
    return logit(np.clip(y_score, _NEAREST_TO_CERTAIN, 1 - _NEAREST_TO_CERTAIN))


def _no_finite_slope(positives: NDArray, negatives: NDArray) -> str:
    """Why no finite slope is the best one, or ""."""
    lowest, highest = min(positives.min(), negatives.min()), max(positives.max(), negatives.max())
    if lowest == highest:
        return "all scores are equal"
    if positives.min() >= negatives.max() or positives.max() <= negatives.min():
        return "scores part positives from negatives without error"
    return ""


def _newton(is_positive: NDArray, design: NDArray, offset: NDArray) -> NDArray[np.float64]:
    """Coefficients ``(k,)`` of the logistic regression on ``design (k, n_images)``, from zero to convergence."""
    sign = np.where(is_positive, 1.0, -1.0)
    beta = np.zeros(len(design))
    likelihood = -math.inf
    step = np.zeros_like(beta)
    for _ in range(_MOST_NEWTON_STEPS):
        eta = offset + (beta + step) @ design
        proposed = float(log_expit(sign * eta).sum())
        if proposed < likelihood - abs(likelihood) * 1e-14:
            step = step / 2
            continue
        beta, likelihood = beta + step, proposed
        p = expit(eta)
        step = np.linalg.solve((design * (p * (1 - p))) @ design.T, design @ (is_positive - p))
        if np.abs(step).max() <= 1e-13 * (1 + np.abs(beta).max()):
            break
    return beta
