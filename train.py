"""Train an experiment: ``python train.py experiment=zhao_mlp [key=value …]``."""

import sys

from radnet.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
