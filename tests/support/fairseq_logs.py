"""What fairseq's commands log with `--log-format json`."""

import json
import re


def logged(lines, kind):
    """JSON objects of the log lines ``| kind | {…}``."""
    found = [re.search(rf"\| {kind} \| (\{{.*\}})$", line) for line in lines]
    return [json.loads(m[1]) for m in found if m]
