# What people and CI run. `make` alone lists it.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
STACK ?= pre

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

$(VENV)/.installed: requirements.txt requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	PIP_CACHE_DIR=$${PIP_CACHE_DIR:-$(CURDIR)/.cache/pip} $(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	touch $@

setup: $(VENV)/.installed ## Python's environment in .venv

rehearse: setup ## the main job with no AWS account: both environments on an emulated one; KEEP=1 leaves it running
	$(RUN) -m rehearsal $(if $(KEEP),--keep)

test: lint coverage engine ## all tests

unit: setup ## the mocked tests alone, in seconds
	$(RUN) -m pytest tests/unit --numprocesses 2 --quiet

coverage: setup ## the mocked tests, and how much of the program they run
	$(RUN) -m coverage run -m pytest tests/unit --quiet
	$(RUN) -m coverage report

engine: setup ## the tests that need Docker: the emulated account, and the real engine on it
	$(RUN) -m pytest tests/account --numprocesses 2 --dist loadfile
	$(RUN) -m pytest tests/engine --numprocesses 6 --dist loadfile

lint: setup actionlint ## ruff and mypy, and for the workflows actionlint and zizmor
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(VENV)/bin/zizmor --offline --quiet .github

ACTIONLINT := .cache/actionlint-1.7.12/actionlint

$(ACTIONLINT):
	GOBIN=$(CURDIR)/$(@D) go install github.com/rhysd/actionlint/cmd/actionlint@v1.7.12

# Ignored is what it doesn't know yet: GitHub has these since 2026-04 and 2026-05.
actionlint: $(if $(shell command -v go),$(ACTIONLINT))
	@if test -x $(ACTIONLINT); then $(ACTIONLINT) -ignore 'unexpected key "queue"' \
		-ignore 'property "workflow_(repository|sha)" is not defined' .github/workflows/*.yml; \
	elif test -n "$$CI"; then echo "actionlint needs Go, which isn't here" >&2; exit 1; \
	else echo "actionlint is left out: it needs Go, which isn't here"; fi

format: setup ## write the code as ruff formats it
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

base: setup ## booklink-base:local, a base image for the sample from this machine's packages
	$(RUN) -m rehearsal.base

# Given by the environment, and not in the recipe's text, where a tag's name could be a command. What stands on make's
# own command line is taken as it is, too: make would put variables in, and run functions.
release label: override export VERSION := $(value VERSION)
release label: override export COMMIT := $(value COMMIT)
release label: override export STACK := $(value STACK)
release: setup ## the image that pre runs becomes VERSION=v1.2.3; with COMMIT=..., only if that came of this commit
	@$(RUN) -m commands.release "$$VERSION" --stack "$$STACK" --commit "$$COMMIT"

label: setup ## the image that pre runs gets the label of COMMIT=..., from which it was built
	@$(RUN) -m commands.release --stack "$$STACK" --commit "$$COMMIT"

preview recover: override export STACK := $(value STACK)
preview: setup ## what `pulumi up` would change, with the version that the stack runs; REFRESH=1 compares what is there
	@$(RUN) -m commands.preview --stack "$$STACK" $(if $(REFRESH),--refresh) $(if $(SAVE),--save "$(SAVE)")

recover: setup ## the state of STACK=pre in order after an interrupted update; deletes nothing
	@$(RUN) -m commands.recover "$$STACK" $(if $(ALONE),--alone)

settings: setup ## write Pulumi.yaml's config block and docs/settings.md from the settings' definitions
	$(RUN) -m settings.document

PIN = .cache/pip-tools/bin/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe --no-emit-index-url --no-emit-trusted-host --no-emit-find-links

requirements: ## pin, with hashes, what requirements.in and requirements-dev.in name
	test -x .cache/pip-tools/bin/pip-compile || { $(PYTHON) -m venv .cache/pip-tools && .cache/pip-tools/bin/pip install --quiet pip-tools; }
	$(PIN) --output-file requirements.txt requirements.in
	$(PIN) --output-file requirements-dev.txt requirements-dev.in

clean: ## what the rehearsal and the tests keep between runs
	rm -rf .cache

.PHONY: help setup rehearse test unit coverage engine lint actionlint format base release label preview recover settings requirements clean
