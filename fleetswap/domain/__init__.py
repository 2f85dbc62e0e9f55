"""Pure decisions, standard library only: no clock, no files, no network."""
