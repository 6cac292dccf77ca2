"""Progress on standard error."""

import logging


def log_progress() -> None:
    """Show INFO and above, with the time, whatever was set up before."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", force=True)
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)
