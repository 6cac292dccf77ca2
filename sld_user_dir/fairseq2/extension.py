"""What fairseq2 learns of this package: entry point `fairseq2.extension`."""

from __future__ import annotations

import logging
from typing import Any

from sld_user_dir.errors import InputError
from sld_user_dir.fairseq2.supported_release import check_release

logger = logging.getLogger(__name__)


def setup(container: Any) -> None:
    """Register manifests, vocabulary and model with fairseq2.

    Args:
        container: fairseq2's `DependencyContainer`.

    Raises:
        InputError: another release of fairseq2, which also is said in the log: fairseq2 names only the extension.
    """
    try:
        check_release()
    except InputError as error:
        logger.error("%s", error)
        raise
    from sld_user_dir.fairseq2 import joint_transformer_factory, unit_manifests, unit_tokenizer

    unit_manifests.register(container)
    unit_tokenizer.register(container)
    joint_transformer_factory.register(container)
