"""The core's dataset in fairseq's form."""

from fairseq.data import FairseqDataset

from sld_user_dir.sequences.dataset import SequenceDataset


class FairseqSequenceDataset(SequenceDataset, FairseqDataset):
    """A `SequenceDataset` that fairseq takes for one of its own; all methods are the core's."""

    @property
    def supports_prefetch(self) -> bool:
        return False
