"""An exported directory to the Hugging Face hub, with the user's own login."""

from __future__ import annotations

from pathlib import Path

from sld_user_dir.errors import InputError, reason_of


def push_directory(directory: Path, name: str) -> str:
    """Upload a directory as the model `name`, which is made if it is not there, private; returns its address.

    Args:
        name: `MODEL` for one of the user's own, or `OWNER/MODEL`.

    Raises:
        InputError: no login, no network, no permission, or a name that can't be.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        repository = api.create_repo(name, repo_type="model", private=True, exist_ok=True)
        api.upload_folder(repo_id=repository.repo_id, folder_path=str(directory), commit_message="sld export-hf")
    except Exception as error:  # the hub's client and its transport raise many kinds
        remedy = f"log in with: hf auth login; {directory} is complete, and goes up with: hf upload {name} {directory}"
        raise InputError(f"--push-to {name}", f"the hub did not take it: {reason_of(error)}", remedy) from error
    return str(repository)
