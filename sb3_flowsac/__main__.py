"""``python -m sb3_flowsac``: the same as the command ``flowsac``."""

import sys

from sb3_flowsac.cli import main

if __name__ == "__main__":
    sys.exit(main())
