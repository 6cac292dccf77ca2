"""From what a loss term measures to what is logged of it."""

import math

SCALE = {"bits": 1 / math.log(2), "perplexity": 1 / math.log(2), "percent": 100.0, "share": 1.0}
"""By the kind of `Measure`: from a total in nats, or a number of cases, to bits or per cent."""
