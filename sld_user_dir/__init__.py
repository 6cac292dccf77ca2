"""Decoder-only speech recognition on discrete units, as a fairseq user directory.

    audio → features → units → manifest → dataset → model → criterion        (training)
                                └──→ generator → hypotheses → score → report   (decoding)

``vocab`` owns ids, ``data`` manifests and batches, ``features`` and
``clustering`` make units from audio, ``criterions`` holds the losses,
``decoding`` the generator and the scores, ``tasks`` wires them together.
"""

import argparse
import logging

import torch

_level = logging.getLogger().level

# fairseq's --user-dir scans tasks/ and models/ only, and nothing at all where the
# package was imported before: so everything that registers is imported here.
from . import cli_help  # noqa: E402
from .criterions import masked_ce, sld_criterion  # noqa: E402, F401
from .models import joint_lm  # noqa: E402, F401
from .tasks import speech_unit_lm  # noqa: E402, F401

cli_help.install()
# checkpoints of fairseq's older architectures (lstm_lm, fconv_lm) hold one, which torch.load refuses otherwise
torch.serialization.add_safe_globals([argparse.Namespace])
logging.getLogger().setLevel(_level)  # importing fairseq sets it to DEBUG

__version__ = "0.1.0"
