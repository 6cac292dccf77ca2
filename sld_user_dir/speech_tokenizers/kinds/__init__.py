"""One file for each kind of tokenizer, found by itself."""
