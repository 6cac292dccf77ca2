"""Names of what a run can have switched on; see `sld_user_dir.compatibility`."""

TASK_TOKENS = "a vocabulary of several tasks"
PACKED_ROWS = "--pack-utterances"
MIXED_LENGTHS = "--mixed-lengths"
PREFIX_LM = "--prefix-lm"
SPEECH_CONVOLUTION = "--speech-conv-kernel"
HIDDEN_SEPARATORS = "--input-mask-tokens all"
NO_PACKED_ATTENTION = "a model without attention to packed utterances"
