# Fleetswap. `make help` lists what can be done; all of it does its own set-up first.
#
#   VERSION=…  of `up` and `preview`: the version of the demo image; without it, what was deployed last
#   PORT=…     of `up`: where the local cloud listens (4510)
#
# The two reach tools/local in its environment, never through a shell.

export VERSION PORT
python := .venv/bin/python
sources := fleetswap fleetswap_pulumi components infra localcloud engine tools bench tests

.PHONY: help up preview rollback status down test test-fast check lint fmt lock setup setup-python

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

up: setup ## deploy on this machine: builds the image, boots it, puts the traffic on it
	@$(python) -m tools.local up

preview: setup ## show what `up` would change
	@$(python) -m tools.local preview

rollback: setup ## put the traffic back on the release before
	@$(python) -m tools.local rollback

status: setup ## what runs, and the outputs of the stack
	@$(python) -m tools.local status

down: ## end every process of it and remove its state; the engine and the environment stay
	@test ! -x $(python) || $(python) -m tools.local down

test: setup ## every test; those with a whole stack run beside the others (tests/conftest.py)
	@$(python) -m pytest -n 2 --dist loadgroup --durations 10

fast := not (engine or machines or disks or nix or haproxy or go or e2e or slow)

test-fast: setup-python ## the tests that need only Python (no engine, QEMU or Nix): about a minute
	@$(python) -m pytest -n 2 --dist loadfile -q -m '$(fast)'

check: setup lint test ## everything that a change must pass

lint: setup-python ## formatting, lint, types, layers
	@.venv/bin/ruff format --check $(sources)
	@.venv/bin/ruff check $(sources)
	@.venv/bin/mypy $(sources)
	@.venv/bin/lint-imports

fmt: setup-python ## format the code; generate the reference of settings and the comments of Pulumi.prod.yaml
	@$(python) -m tools.settings_reference
	@.venv/bin/ruff format $(sources)
	@.venv/bin/ruff check --fix-only $(sources)

.PHONY: bench-upload
bench-upload: setup ## coldsnap and Fleetswap in turn against one server; ARGS=--quick takes minutes less
	@$(python) -m bench upload $(ARGS)

.PHONY: bench-deploy
bench-deploy: setup ## phases of a deploy and a rollback on the local cloud, with a verdict for each goal; about 4 minutes
	@$(python) -m bench deploy $(ARGS)

.PHONY: mutants
mutants: setup ## break the rollout's state machine in every small way, and tell what no test notices; ARGS="gate pins": only these modules
	@$(python) -m tools.mutants $(ARGS)

compile := .venv/bin/uv pip compile --quiet --generate-hashes --no-emit-index-url pyproject.toml

lock: setup ## write the lock files anew from pyproject.toml: what a deploy needs, and with it what the tests need
	@$(compile) -o requirements.lock
	@$(compile) --all-extras -c requirements.lock -o requirements-dev.lock
	@{ sed -n '/^#/p' infra/requirements.txt; sed -n 's/^\([^ #]*==[^ ]*\).*/\1/p' requirements.lock; echo '-e ..'; } >infra/requirements.new
	@mv infra/requirements.new infra/requirements.txt

setup:
	@tools/setup

setup-python:
	@tools/setup python
