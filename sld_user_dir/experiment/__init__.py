"""Several systems trained, decoded and scored on the same data, and a report of them."""
