"""Decoder-only speech recognition on discrete units: a core that knows no framework, and a fairseq user directory.

    audio → features → units → manifest → sequences → model → criterion      (training)
                                              └──→ search → hypotheses → score → report   (decoding)

    vocabulary     the joint vocabulary of text and units, sole owner of ids
    manifests      tables of units and of recordings, and their memory maps
    features       recordings to frames: MFCC and neural encoders
    clustering     frames to units: k-means, unit subwords, quality
    pipeline       these stages over a corpus: streams, shards, jobs on SLURM
    interop        the formats of textless-lib and its relatives, in and out
    corpora        speech to try things on
    sequences      what a model reads and writes, as examples and batches
    losses         the paper's idea (`losses/terms/smoothed_kl.py`) and its siblings; the fused kernel
    search         beam search and sampling, over any decoder
    scoring        hypotheses to word error rates
    experiment     trainings side by side, their report, model cards
    hub            a trained model from Python
    commands       `sld COMMAND`, a thin front of each stage

    tasks, models, criterions, fairseq_patches    fairseq's side: the only folders that import it

Importing this package imports neither fairseq nor torch, and changes nothing in them. Where fairseq is in use, before
or afterwards, the task, the models and the criteria are registered with it (`registration`).
"""

from sld_user_dir.registration import when_fairseq_is_imported

__version__ = "0.1.0"

when_fairseq_is_imported()
