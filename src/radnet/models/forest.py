"""A random forest whose depth and leaves are chosen by cross-validation, kept as plain arrays."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.utils.validation import check_is_fitted, validate_data

from radnet.models.penalty_path import Floats

_LEAF = -1  # the child of a node that has none, as scikit-learn numbers it


class RandomForest(ClassifierMixin, BaseEstimator):
    """scikit-learn's random forest of yes and no, at the best of several sizes.

    The best has the highest AUC, a mean over stratified folds of the training patients; among equals the first in
    the order given. A split looks at √p of
    the p features. What is kept of a forest is its trees as arrays, which can be written to a disk without code.

    A probability is the mean over trees of the share with the event in a leaf. It is held half a tree's vote, 1 / (2 ×
    trees), from 0 and from 1, so that its log odds are finite.

    Args:
        n_trees: Numbers of trees to choose from.
        max_depth: Depths to choose from; null lets a tree grow until its leaves are pure or small.
        min_samples_leaf: Least numbers of patients in a leaf to choose from.
        n_folds: That choose.
        seed: Of bootstrap samples, of the features a split looks at, and of the folds.

    Attributes:
        best_: Values chosen, by argument.
        roots_: First node of each tree, shape (trees,).
        feature_: Column that each node splits, shape (nodes,).
        threshold_: Value at or below which a patient goes left, shape (nodes,).
        left_: Node to the left, shape (nodes,), -1 of a leaf.
        right_: Node to the right, shape (nodes,), -1 of a leaf.
        share_: Share with the event among the training patients of each node, shape (nodes,).

    References:
        Breiman. Mach Learn 2001;45:5-32.
    """

    def __init__(
        self,
        n_trees: Sequence[int] = (200,),
        max_depth: Sequence[int | None] = (3, None),
        min_samples_leaf: Sequence[int] = (1, 3, 5),
        n_folds: int = 5,
        seed: int = 0,
    ) -> None:
        self.n_trees = n_trees
        self.max_depth = max_depth
        self.min_samples_leaf = min_samples_leaf
        self.n_folds = n_folds
        self.seed = seed

    def fit(self, X: ArrayLike | pd.DataFrame, y: ArrayLike) -> Self:
        """Choose a size and grow the forest.

        Args:
            X: Features, shape (n, p), complete.
            y: 0 and 1, shape (n,).

        Raises:
            ValueError: If a class has fewer patients than there are folds.
        """
        X, y = validate_data(self, X, y, dtype=np.float32)
        self.classes_ = np.unique(y)
        fewest = int(np.min(np.bincount(np.asarray(y, dtype=int), minlength=2)))
        if fewest < self.n_folds:
            raise ValueError(
                f"a forest is chosen by {self.n_folds} folds, and the smaller class has {fewest} training patients: "
                "give fewer n_folds"
            )
        search = GridSearchCV(
            RandomForestClassifier(max_features="sqrt", random_state=self.seed),
            {
                "n_estimators": list(self.n_trees),
                "max_depth": list(self.max_depth),
                "min_samples_leaf": list(self.min_samples_leaf),
            },
            scoring="roc_auc",
            cv=StratifiedKFold(self.n_folds, shuffle=True, random_state=self.seed),
        ).fit(X, y)
        chosen = search.best_params_
        self.best_ = {"n_trees": chosen["n_estimators"]} | {
            name: chosen[name] for name in ("max_depth", "min_samples_leaf")
        }
        self._keep([one.tree_ for one in search.best_estimator_.estimators_])
        return self

    def predict_proba(self, X: ArrayLike | pd.DataFrame) -> Floats:
        """Return the probability of no event and of the event, shape (n, 2)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float32, reset=False)
        half_a_vote = 1 / (2 * len(self.roots_))
        event = self.share_[self._leaves(X)].mean(axis=1).clip(half_a_vote, 1 - half_a_vote)
        return np.column_stack([1 - event, event])

    def predict(self, X: ArrayLike | pd.DataFrame) -> NDArray[Any]:
        """Return the likelier class of each row, shape (n,)."""
        return self.classes_[(self.predict_proba(X)[:, 1] > 0.5).astype(int)]

    def _keep(self, trees: Sequence[Any]) -> None:
        first = np.cumsum([0, *(tree.node_count for tree in trees)])[:-1]
        self.roots_ = first

        def below(name: str) -> NDArray[np.int64]:
            children = [getattr(tree, name) for tree in trees]
            return np.concatenate(
                [np.where(child == _LEAF, _LEAF, child + root) for child, root in zip(children, first, strict=True)]
            )

        self.left_, self.right_ = below("children_left"), below("children_right")
        self.feature_ = np.concatenate([tree.feature for tree in trees])
        self.threshold_ = np.concatenate([tree.threshold for tree in trees])
        self.share_ = np.concatenate([tree.value[:, 0, 1] / tree.value[:, 0].sum(axis=1) for tree in trees])

    def _leaves(self, X: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return the leaf that each row reaches in each tree, shape (n, trees)."""
        node = np.tile(self.roots_, (len(X), 1))
        row = np.arange(len(X))[:, None]
        for _ in range(len(self.left_)):  # no way through a tree is longer, whatever a file says
            inside = self.left_[node] != _LEAF
            if not inside.any():
                break
            goes_left = X[row, self.feature_[node]] <= self.threshold_[node]
            node = np.where(inside, np.where(goes_left, self.left_[node], self.right_[node]), node)
        return node
