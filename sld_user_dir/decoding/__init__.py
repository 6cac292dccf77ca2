"""From prompts to transcripts to error rates.

prompt_cache   one decoder over one batch: the prompt in one pass, then one step a transcript token
fixed_linear   the products of a step, by oneDNN on a CPU
search         what to emit next: beam search, sampling, limits
generator      the two together, behind fairseq's generator interface; `build_unit_generator`
hypotheses     `generate-<subset>.txt` and plain text files back into records
edits          edit distance, alignment, text normalisation
scoring        records to a report: WER, CER, breakdowns, worst utterances
significance   bootstrap intervals, paired comparison of two systems
"""
