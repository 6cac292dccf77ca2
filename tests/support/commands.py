"""The commands of `sld`, in this process."""

from sld_user_dir.commands import main


def sld(command: str, *arguments: object) -> int:
    """Run `sld COMMAND ARGUMENTS`; returns the exit status."""
    return main([command, *map(str, arguments)])
