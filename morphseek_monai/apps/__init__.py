"""The command line program ``morphseek``: one file per command."""
