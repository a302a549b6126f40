"""Judge predictions: ``python evaluate.py run=RUN_FOLDER`` or ``predictions=FILE output=FOLDER``."""

import sys

from radnet.cli import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
