# Fleetswap. `make help` lists the targets; each sets up what it needs first.
#
#   VERSION=…  of `up` and `preview`: the version of the demo image; default: the one deployed last
#   PORT=…     of `up`: the port of the local cloud (4510)
#
# Both reach tools/local through the environment, never through a shell.

export VERSION PORT
# Compiling every module anew, in each worker and each process that a test starts, would take a tenth of the tests' time.
unexport PYTHONDONTWRITEBYTECODE
python := .venv/bin/python
sources := fleetswap fleetswap_pulumi components infra policy localcloud engine tools bench tests nix/image

.PHONY: help up preview rollback status down test test-fast check lint fmt lock setup setup-python debian13 arm64

help: ## show this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

up: setup ## deploy on this computer: build the image, boot it, send the traffic to it
	@$(python) -m tools.local up

preview: setup ## show what `up` would change
	@$(python) -m tools.local preview

rollback: setup ## send the traffic to the previous release
	@$(python) -m tools.local rollback

status: setup ## show what runs, and the outputs of the stack
	@$(python) -m tools.local status

down: ## stop every process and remove the state; the engine and the environment are kept
	@test ! -x $(python) || $(python) -m tools.local down

test: setup debian13 arm64 ## run every test; a line of fleetswap/domain that none of them runs is a failure
	@$(python) -m pytest -n 3 --dist loadgroup --no-loadscope-reorder --durations 10 --cov=fleetswap/domain --cov-report=term --cov-fail-under=100

fast := not (chromium or debian13 or engine or machines or disks or nix or haproxy or go or e2e or localcloud or slow)

test-fast: setup-python ## run the tests that need only Python (no engine, QEMU, Nix or local cloud): about 120 s of CPU time
	@$(python) -m pytest -n 2 --dist loadfile -q -m '$(fast)'

check: setup debian13 lint test ## run everything that a change must pass

lint: setup-python ## check formatting, lint, types and layers
	@.venv/bin/ruff format --check $(sources)
	@.venv/bin/ruff check $(sources)
	@.venv/bin/mypy $(sources)
	@.venv/bin/lint-imports --no-cache

fmt: setup-python ## format the code; generate the reference of settings, the comments of Pulumi.prod.yaml, and the tables of scale.md and cost.md
	@$(python) -m tools.settings_reference
	@$(python) -m tools.scale
	@$(python) -m tools.cost
	@.venv/bin/ruff format $(sources)
	@.venv/bin/ruff check --fix-only $(sources)

.PHONY: bench-upload
bench-upload: setup ## compare the uploader with coldsnap, against one server; ARGS=--quick: only once each
	@$(python) -m bench upload $(ARGS)

.PHONY: bench-deploy
bench-deploy: setup ## measure a deploy and a rollback on the local cloud, with a verdict for each goal; about 4 minutes
	@$(python) -m bench deploy $(ARGS)

.PHONY: bench-gc
bench-gc: setup ## measure how fast fleetswap gc judges 10,000 images; a few seconds
	@$(python) -m bench judge

.PHONY: bench-image
bench-image: setup debian13 ## measure NixOS images: blocks that a change moves, build, preview, deploy; about 30 minutes, or ARGS=--quick
	@$(python) -m bench image $(ARGS)

.PHONY: bench-scale
bench-scale: setup ## measure a preview and an unchanged update of one of 50 services, against the engine's own time; about 4 minutes
	@$(python) -m bench scale $(ARGS)

.PHONY: docs
docs: setup-python ## build the documents as a site, in .work/site
	@.venv/bin/mkdocs build --quiet --strict --site-dir .work/site

.PHONY: mutants
mutants: setup ## run mutation tests of the rollout's state machine; ARGS="gate pins": only these modules
	@$(python) -m tools.mutants $(ARGS)

compile := .venv/bin/uv pip compile --quiet --generate-hashes --no-strip-extras --no-emit-index-url pyproject.toml

lock: setup ## write the lock files from pyproject.toml, for deploys and for the tests
	@$(compile) -o requirements.lock
	@$(compile) --all-extras -c requirements.lock -o requirements-dev.lock
	@{ sed -n '/^#/p' infra/requirements.txt; sed -n 's/^\([^ #][^=]*==[^ ]*\).*/\1/p' requirements.lock; echo '-e ..'; } >infra/requirements.new
	@mv infra/requirements.new infra/requirements.txt

setup:
	@tools/setup

arm64:
	@nix/demo/fetch-kernel .work/kernel-arm64 arm64

debian13:
	@tools/debian13
	@nix/debian/fetch-parts .work/debian

setup-python:
	@tools/setup python
