"""How good probabilities are: the figures that ``evaluate`` reports for the model, its baselines and every slice.

All take ``labels`` (0 or 1) and ``scores`` (probabilities), one each a row, and return NaN where the figure is not
defined: no rows, or for the ranking figures only one label.
"""

import numpy as np
import numpy.typing as npt
from sklearn import metrics

Labels = npt.NDArray[np.integer]
Scores = npt.NDArray[np.float64]

FIGURES = ("roc_auc", "average_precision", "log_loss", "brier", "calibration_error")


def figures(labels: Labels, scores: Scores, bins: int) -> dict[str, float]:
    """Return every figure of :data:`FIGURES`."""
    both = len(labels) > 0 and 0 < labels.sum() < len(labels)
    rows = len(labels) > 0
    return {
        "roc_auc": float(metrics.roc_auc_score(labels, scores)) if both else np.nan,
        "average_precision": float(metrics.average_precision_score(labels, scores)) if both else np.nan,
        "log_loss": float(metrics.log_loss(labels, scores, labels=[0, 1])) if rows else np.nan,
        "brier": float(np.mean((scores - labels) ** 2)) if rows else np.nan,
        "calibration_error": calibration_error(labels, scores, bins) if rows else np.nan,
    }


def losses(labels: Labels, scores: Scores) -> npt.NDArray[np.float64]:
    """Return the log loss of each row."""
    sure = np.finfo(np.float64).eps
    told = np.clip(np.where(labels == 1, scores, 1 - scores), sure, 1)
    lost: npt.NDArray[np.float64] = -np.log(told)
    return lost


def calibration_bins(labels: Labels, scores: Scores, bins: int) -> npt.NDArray[np.float64]:
    """Return (mean score, share late, rows) for each non-empty one of ``bins`` bins of equal width over [0, 1]."""
    place = np.minimum((scores * bins).astype(np.int64), bins - 1)
    rows = np.bincount(place, minlength=bins)
    used = rows > 0
    score = np.bincount(place, weights=scores, minlength=bins)[used] / rows[used]
    late = np.bincount(place, weights=labels, minlength=bins)[used] / rows[used]
    return np.column_stack([score, late, rows[used]])


def calibration_error(labels: Labels, scores: Scores, bins: int) -> float:
    """Return the expected calibration error: the mean gap between score and share, weighted by rows.

    Naeini, Cooper and Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI 2015.
    """
    score, late, rows = calibration_bins(labels, scores, bins).T
    return float(np.sum(rows * np.abs(score - late)) / rows.sum())
