"""How sure a transcript is: from the scores of a search's hypotheses to calibrated probabilities of being right."""
