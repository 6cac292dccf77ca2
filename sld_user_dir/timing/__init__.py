"""When each word was said: forced alignment by CTC, times of units, and files of word times."""
