"""`python -m sld_user_dir` is the command `sld`."""

import sys

from sld_user_dir.commands import main

if __name__ == "__main__":
    sys.exit(main())
