"""Text while the speech still comes: a prompt that grows, hypotheses that agree, and where a segment ends."""
