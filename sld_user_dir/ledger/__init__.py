"""How many utterances, units, frames and samples went into each stage, came out of it, and were lost, and why."""
