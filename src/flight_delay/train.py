"""Stage ``train``: requests with their labels → one model that takes a raw request, under ``models/``.

Beside it, the baselines that it has to beat, from the same rows: past rates, and a logistic regression on the same
features. Nothing that is judged needs the training rows again.
"""

import sys
from contextlib import redirect_stdout
from typing import TextIO

import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from flight_delay.baselines import as_columns, count
from flight_delay.errors import StageError, run_stage
from flight_delay.feature_columns import USED
from flight_delay.features import RequestFeatures
from flight_delay.files import as_json, write_files
from flight_delay.logistic import Logistic
from flight_delay.model_file import dump_model
from flight_delay.params import Train, load_params
from flight_delay.paths import COUNTS, LOGISTIC, MODEL
from flight_delay.prepare import window_rows
from flight_delay.request import LABEL


def classifier(params: Train) -> HistGradientBoostingClassifier:
    """Return the boosted trees of the params, not fitted yet."""
    return HistGradientBoostingClassifier(
        learning_rate=params.learning_rate,
        max_iter=params.max_iter,
        max_leaf_nodes=params.max_leaf_nodes,
        min_samples_leaf=params.min_samples_leaf,
        l2_regularization=params.l2_regularization,
        max_features=params.max_features,
        early_stopping=False,
        random_state=params.seed,
        verbose=2,  # a line a tree
    )


def train(rows: pd.DataFrame, params: Train) -> Pipeline:
    """Return the model fitted on requests and labels. Raises :class:`StageError` for a column without any value.

    One thread: the fitted model remembers how many there were, and so would its file.
    """
    if empty := [column for column in USED if rows[column].isna().all()]:
        raise StageError(
            f"the training rows have no value at all in {', '.join(empty)}: nothing can be learnt from it."
        )
    model = Pipeline([("features", RequestFeatures()), ("classifier", classifier(params))])
    with threadpool_limits(limits=1, user_api="openmp"), redirect_stdout(_Progress(sys.stdout)):
        model.fit(rows[list(USED)], rows[LABEL])
    return model.set_params(classifier__verbose=0)


def main() -> None:
    """Make the training rows of what `prepare` left, write the model's file and those of the baselines."""
    params = load_params()
    rows = window_rows("train", params)
    sys.stdout.write(f"train: {params.train.max_iter} trees on {len(rows):,} flights\n")
    model = train(rows, params.train)
    sys.stdout.write("train: the baselines\n")
    logistic = Logistic.fit(model[0].transform(rows), rows[LABEL].to_numpy())
    write_files(
        {
            MODEL: dump_model(model),
            COUNTS: as_json(as_columns(count(rows)), indent=None),
            LOGISTIC: as_json(logistic.as_json(), indent=None),
        }
    )


class _Progress:
    """Of scikit-learn's line for each tree, show every 50th: ``train: tree 50/300``."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        count = text.lstrip("[").partition("/")[0]
        if text.startswith("[") and count.isdigit() and int(count) % 50 == 0:
            self.stream.write(f"train: tree {text[1 : text.index(']')]}\n")
            self.stream.flush()
        return len(text)

    def flush(self) -> None:
        self.stream.flush()


if __name__ == "__main__":
    sys.exit(run_stage(main))
