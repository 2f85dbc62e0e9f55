"""Pure decisions, standard library only: no clock, no file, no network."""
