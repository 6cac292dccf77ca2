"""What the target of a position is in its sequence: part of the prompt or of the answer, and where speech stands.

A batch carries one number a position, `sample["segments"]` (B, L), the sum of flags: those of the sequence in every
position of its row, padding included, and `ANSWER` from the first token of the answer on.
"""

ANSWER = 1
"""The target is part of the answer, not of the prompt."""
SPEECH_PROMPT = 2
"""The sequence has a prompt of speech."""
SPEECH_ANSWER = 4
"""The sequence has an answer in speech."""
