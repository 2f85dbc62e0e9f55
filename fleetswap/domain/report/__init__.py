"""The report of a rollout, as data: what its page says and shows. `fleetswap.report` makes the page."""
