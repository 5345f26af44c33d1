"""tools/station.py with the stub judge: python -m tests.station.run_station WORDS OF THE COMMAND."""

import sys

from common.signals import run_to_the_end
from station import judging
from tests.station.stub import StubModel
from tools.station import main

if __name__ == "__main__":
    judging.load = lambda path, recipe, sha256, *_: StubModel(recipe, sha256)
    run_to_the_end(lambda: main(sys.argv[1:]))
