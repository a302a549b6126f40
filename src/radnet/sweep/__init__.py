"""A search over settings of training, judged by folds of the patients that are not held out."""
