"""One recording and what a model makes of it, as a page: waveform, units, words, hypotheses, surprise."""
