"""The commands, a file for each thing they work on."""
