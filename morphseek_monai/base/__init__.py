"""What every part and every command needs: one-line errors, files, the machine, the version, lazy imports."""
