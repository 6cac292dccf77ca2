"""`python -m sld_user_dir.interop`: the table of formats in docs/interop.md, each round trip run now."""

import sys

from sld_user_dir.interop.roundtrip import format_table

if __name__ == "__main__":
    sys.stdout.write(format_table())
