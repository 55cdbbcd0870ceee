"""The fitted model as arrays, read from its file without building any object of it, and its trees at work.

A model's file is a zip of arrays and a schema that says what they are (:mod:`flight_delay.model_file`). Here the schema
is read as JSON, the arrays as arrays, and nothing else: neither skops nor scikit-learn is needed, whose import takes
seconds in every process. The answers are those of ``Pipeline.predict_proba`` to the last bit: the same comparisons, and
the leaves' values added in the same order.
"""

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flight_delay.feature_columns import FEATURES
from flight_delay.model_file import ModelFileError, check_types
from flight_delay.request import CATEGORIES, HISTORY

FEW_ROWS = 16  # up to so many the walk from node to node is quicker than the tables
BLOCK_ROWS = 512  # what is known of so many rows at a time stays in the processor's cache
LARGEST_TABLES = 1 << 26  # bytes of the tables; a larger model is walked
_PIPELINE = "sklearn.pipeline.Pipeline"
_FEATURES = "flight_delay.features.RequestFeatures"
_CLASSIFIER = "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingClassifier"
_TREE = "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"
_LOSS = "sklearn._loss.loss.HalfBinomialLoss"

Floats = npt.NDArray[np.float64]
Nodes = npt.NDArray[np.void]


@dataclass(frozen=True)
class Fitted:
    """What a model's file holds: the ranks of the categories, the usual history, the trees and where they start."""

    categories: tuple[npt.NDArray[np.str_], ...]
    usual: Floats
    trees: tuple[Nodes, ...]
    baseline: float


def read_fitted(path: Path) -> Fitted:
    """Read a model's file. Raises :class:`~flight_delay.model_file.ModelFileError` for anything that it cannot be."""
    content = path.read_bytes()
    try:
        check_types(content, str(path))
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return _Reader(archive).fitted()
    except ModelFileError as error:
        if str(error).startswith(str(path)):
            raise
        raise ModelFileError(f"{path}: {error}") from None
    except Exception as error:  # whatever a cut or altered file makes zip, JSON or numpy stumble over
        raise ModelFileError(
            f"{path}: not a whole model ({type(error).__name__}: {error}). No other format is ever loaded."
        ) from error


class _Reader:
    """Looks up what a schema says of objects by its classes and names."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive

    def fitted(self) -> Fitted:
        pipeline = self.attributes(json.loads(self.archive.read("schema.json")), _PIPELINE)
        transformer, classifier = (step["content"][1] for step in pipeline["steps"]["content"])
        features = self.attributes(transformer, _FEATURES)
        boosted = self.attributes(classifier, _CLASSIFIER)
        self.attributes(boosted["_loss"], _LOSS)
        if self.array(boosted["classes_"]).tolist() != [0, 1] or json.loads(boosted["_preprocessor"]["content"]):
            raise ModelFileError("holds a classifier of other classes, or of categories.")
        baseline = self.array(boosted["_baseline_prediction"]).astype(np.float64, casting="equiv")
        trees = [self.tree(one) for [one] in (of["content"] for of in boosted["_predictors"]["content"])]
        categories = [self.array(one).astype(np.str_, casting="equiv") for one in features["categories_"]["content"]]
        usual = self.array(features["usual_"]).astype(np.float64, casting="equiv")
        if usual.shape != (24, len(HISTORY)) or len(categories) != len(CATEGORIES) or baseline.shape != (1, 1):
            raise ModelFileError("its features are not those that this code makes of a request.")
        if not trees:
            raise ModelFileError("holds no tree.")
        return Fitted(tuple(categories), usual, tuple(trees), float(baseline[0, 0]))

    def attributes(self, node: dict[str, Any], name: str) -> dict[str, Any]:
        """Return what an object of that class has, each a node of the schema."""
        found = f"{node['__module__']}.{node['__class__']}"
        if found != name:
            raise ModelFileError(f"holds {found} where {name} is expected.")
        content: dict[str, Any] = node["content"]["content"]
        return content

    def array(self, node: dict[str, Any]) -> npt.NDArray[Any]:
        array: npt.NDArray[Any] = np.load(io.BytesIO(self.archive.read(node["file"])), allow_pickle=False)
        return array

    def tree(self, node: dict[str, Any]) -> Nodes:
        nodes = self.array(self.attributes(node, _TREE)["nodes"])
        inner = nodes[nodes["is_leaf"] == 0]
        if inner["is_categorical"].any():
            raise ModelFileError("a split on categories cannot be walked here.")
        places = np.flatnonzero(nodes["is_leaf"] == 0)
        for side in ("left", "right"):  # a child stands after its parent: no walk goes round in circles
            if not ((inner[side] > places) & (inner[side] < len(nodes))).all():
                raise ModelFileError("a tree's nodes do not follow each other.")
        if not len(nodes) or not (inner["feature_idx"] < len(FEATURES)).all():
            raise ModelFileError("a tree has no nodes, or splits on a feature that there is not.")
        return nodes


class Walk:
    """All trees in one set of arrays, walked level by level: for few rows.

    Each node is two numbers in ``child``: where a row goes that is not, and is, at most ``threshold``. A leaf's
    children are itself. Missing values: ``feature`` of a node that sends them left points into a copy of the row in
    which missing is -inf; elsewhere NaN, which is never "at most", goes right.
    """

    def __init__(self, trees: tuple[Nodes, ...], baseline: float) -> None:
        """Flatten the fitted trees."""
        nodes = np.concatenate(trees)
        starts = np.cumsum([0, *map(len, trees)])[:-1]
        offset = np.repeat(starts, [len(tree) for tree in trees])
        leaf = nodes["is_leaf"].astype(bool)
        own = np.arange(len(nodes))
        self.roots = starts.astype(np.intp)
        self.depth = int(nodes["depth"].max())
        self.threshold = np.where(leaf, np.inf, nodes["num_threshold"])
        self.feature = np.where(leaf, 0, nodes["feature_idx"] + len(FEATURES) * (nodes["missing_go_to_left"] == 0))
        right, left = (np.where(leaf, own, offset + nodes[side]) for side in ("right", "left"))
        self.child = np.stack([right, left], axis=1).ravel()
        self.value = nodes["value"].copy()
        self.baseline = baseline

    def raw(self, features: Floats) -> Floats:
        """Return the sum of the leaves' values for each row of ``features`` (rows, features)."""
        rows = len(features)
        both = np.concatenate([np.where(np.isnan(features), -np.inf, features), features], axis=1)
        values, width = both.ravel(), both.shape[1]
        start = np.repeat(np.arange(rows) * width, len(self.roots))
        node = np.tile(self.roots, rows)
        for _ in range(self.depth):
            below = values.take(start + self.feature.take(node)) <= self.threshold.take(node)
            node = self.child.take(2 * node + below)
        leaves = np.empty((rows, len(self.roots) + 1))
        leaves[:, 0] = self.baseline
        leaves[:, 1:] = self.value.take(node).reshape(rows, len(self.roots))
        # one after the other, as scikit-learn adds them: a pairwise sum would round differently
        last: Floats = np.cumsum(leaves, axis=1)[:, -1]
        return last


class Tables:
    """Trees as tables of bits: for many rows.

    A tree's leaves are numbered from left to right, a bit each. Whoever does not go left at a node cannot come to the
    leaves left of it: the node's mask. A row's leaf is the lowest bit that the masks of all nodes where it goes right
    leave standing (QuickScorer: Lucchese et al., SIGIR 2015). What the nodes on one feature leave depends only on
    between which of their thresholds its value lies, so it is looked up, for all trees at once.
    """

    def __init__(self, trees: tuple[Nodes, ...], baseline: float) -> None:
        """Make the tables. Raises ``ValueError`` for trees that they would be too large for."""
        most = max(int(nodes["is_leaf"].sum()) for nodes in trees)
        kind = next((kind for kind in (np.uint16, np.uint32, np.uint64) if most <= np.iinfo(kind).bits), None)
        splits = sum(int((nodes["is_leaf"] == 0).sum()) for nodes in trees)
        size = (splits + 3 * len(FEATURES)) * len(trees)
        if kind is None or size * np.dtype(kind).itemsize > LARGEST_TABLES:
            raise ValueError("the trees are too large for tables")
        self.baseline, self.kind, self.bits = baseline, kind, np.iinfo(kind).bits
        self.values = np.zeros((len(trees), self.bits))
        on: list[list[tuple[float, int, int, bool]]] = [[] for _ in FEATURES]
        for number, nodes in enumerate(trees):
            leaves, masks = _numbered(nodes)
            self.values[number, : len(leaves)] = nodes["value"][leaves]
            for place, mask in masks.items():
                node = nodes[place]
                split = (float(node["num_threshold"]), number, mask, bool(node["missing_go_to_left"]))
                on[node["feature_idx"]].append(split)
        full = np.iinfo(kind).max
        self.features = [place for place, splits_on in enumerate(on) if splits_on]
        self.thresholds, self.left = [], []
        for place in self.features:
            ordered = sorted(on[place])
            left = np.full((len(ordered) + 2, len(trees)), full, kind)
            for row, (_, number, mask, to_left) in enumerate(ordered):
                left[row + 1 : len(ordered) + 1, number] &= kind(full ^ mask)
                if not to_left:
                    left[len(ordered) + 1, number] &= kind(full ^ mask)
            self.thresholds.append(np.array([threshold for threshold, *_ in ordered]))
            self.left.append(left)
        self.lowest = _lowest_bits() if kind is np.uint16 else None
        self.starts = np.arange(len(trees)) * self.bits

    def raw(self, features: Floats) -> Floats:
        """Return the sum of the leaves' values for each row of ``features`` (rows, features)."""
        raw = np.full(len(features), self.baseline)
        for start in range(0, len(features), BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            values = self.values.ravel().take(self._leaf(features[rows]) + self.starts)
            into = raw[rows]
            for of_tree in np.ascontiguousarray(values.T):  # in the order in which scikit-learn adds them
                into += of_tree
        return raw

    def _leaf(self, features: Floats) -> npt.NDArray[np.intp]:
        """Return the number of each row's leaf in each tree."""
        standing = np.full((len(features), len(self.values)), np.iinfo(self.kind).max, self.kind)
        looked_up = np.empty_like(standing)
        for place, thresholds, left in zip(self.features, self.thresholds, self.left, strict=True):
            column = np.ascontiguousarray(features[:, place])
            between = np.where(np.isnan(column), len(thresholds) + 1, np.searchsorted(thresholds, column, "left"))
            left.take(between, axis=0, out=looked_up, mode="clip")
            standing &= looked_up
        if self.lowest is not None:
            return self.lowest.take(standing)
        alone = standing & (~standing + self.kind(1))
        return np.asarray(np.frexp(alone.astype(np.float64))[1] - 1, dtype=np.intp)


def _numbered(nodes: Nodes) -> tuple[list[int], dict[int, int]]:
    """Return the places of the leaves from left to right, and for each other node the bits of those left of it."""
    leaves: list[int] = []
    masks: dict[int, int] = {}

    def visit(place: int) -> None:
        node = nodes[place]
        if node["is_leaf"]:
            leaves.append(place)
            return
        first = len(leaves)
        visit(int(node["left"]))
        masks[place] = (1 << len(leaves)) - (1 << first)
        visit(int(node["right"]))

    visit(0)
    return leaves, masks


def _lowest_bits() -> npt.NDArray[np.intp]:
    """Return the place of the lowest bit of every number of 16 bits (of 0: 0)."""
    numbers = np.arange(1 << 16)
    alone = np.maximum(numbers & -numbers, 1)
    return np.asarray(np.frexp(alone.astype(np.float64))[1] - 1, dtype=np.intp)
