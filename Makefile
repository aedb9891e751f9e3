# miniswift's commands. Each installs what it needs first, and only when something changed.
#
#   .venv/        miniswift (editable), its tests' tools, the clients
#   .venv-swift/  a real OpenStack Swift, for the interop tests and the benchmark; apart from .venv,
#                 so that egg:swift#NAME there is Swift's and here is ours
#   .venv-keystone/  a real OpenStack Keystone
#   .venv-conformance/  what runs Swift's own functional tests, and these tests

PYTHON ?= python3
SERVE ?=
TESTS ?=
CRASH ?=
BENCH ?=
SCALE ?=

CODE := miniswift middleware benchmarks tests bin

.DEFAULT_GOAL := help
.NOTPARALLEL:  # both environments install this checkout
.PHONY: help serve test lint unit functional interop conformance filters cors faults crash scale bench clean

help: ## show this
	@sed -n 's/^\([a-z]*\):.*## /  make \1 /p' Makefile | awk '{printf "  %s %-11s", $$1, $$2; $$1=$$2=""; print}'

serve: .venv/.installed ## run miniswift here; options by SERVE="--port 8081 --root DIR"
	@exec .venv/bin/miniswift serve $(SERVE)

test: lint .venv-swift/.installed .venv-keystone/.installed ## lint, types and all tests; a selection by TESTS="-k upload"
	@$(call need,chromedriver,chromium chromium-driver)
	@$(call need,memcached,memcached)
	@$(call need,rsync,rsync)
	.venv/bin/python -m pytest $(TESTS)

lint: .venv/.installed ## style and types
	.venv/bin/ruff check $(CODE)
	.venv/bin/ruff format --check $(CODE)
	.venv/bin/mypy

unit: .venv/.installed ## the unit tests alone
	.venv/bin/python -m pytest tests/unit $(TESTS)

functional: .venv/.installed ## the tests that run miniswift as processes
	@$(call need,chromedriver,chromium chromium-driver)
	@$(call need,memcached,memcached)
	.venv/bin/python -m pytest tests/functional $(TESTS)

interop: .venv/.installed .venv-swift/.installed .venv-keystone/.installed ## the tests with a real Swift or Keystone on the other side
	@$(call need,memcached,memcached)
	@$(call need,rsync,rsync)
	.venv/bin/python -m pytest tests/interop $(TESTS)

conformance: .venv/.installed .venv-conformance/.installed ## Swift's own functional tests; a selection by TESTS="-k copy"
	.venv/bin/python -m tests.conformance.run $(TESTS)

filters: .venv/.installed .venv-swift/.installed .venv-conformance/.installed ## a real Swift's filters in the place of ours, under Swift's tests
	.venv/bin/python -m tests.conformance.filters

cors: .venv/.installed .venv-conformance/.installed ## Swift's browser tests of CORS, in Chromium
	.venv/bin/python -m tests.conformance.cors

faults: .venv/.installed ## what fails on three replicas, and what clients see of it: build/faults.md
	.venv/bin/python -m tests.faults
crash: .venv/.installed ## kill -9 fifty times under load, nothing lost; options by CRASH="--kills 5 --seed 1"
	.venv/bin/python -m tests.crash.run $(CRASH)

bench: .venv/.installed .venv-swift/.installed ## compare with a real Swift; options by BENCH="--only PUT --save"
	@$(call need,memcached,memcached)
	.venv/bin/python -m benchmarks.run $(BENCH)

scale: .venv/.installed ## a million objects, many connections, memory; options by SCALE="--only uploads"
	.venv/bin/python -m benchmarks.scale $(SCALE)

clean: ## remove what make and the tests made; miniswift-data stays
	rm -rf .venv .venv-swift .venv-keystone .venv-conformance .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +

# --- virtual environments --------------------------------------------------------------------------

.venv/.installed: setup.cfg pyproject.toml
	@$(call need,gcc,gcc)
	@$(call need_header,Python.h,python3-dev)
	@echo "installing miniswift and its tests' tools into .venv (a minute, once)"
	@$(call make_venv,.venv)
	@$(call pip_install,.venv,-e '.[test$(comma)bench]')
	@touch $@

.venv-swift/.installed: setup.cfg pyproject.toml
	@$(call need,gcc,gcc)
	@$(call need_header,Python.h,python3-dev)
	@$(call need_library,erasurecode,liberasurecode-dev)
	@echo "installing a real Swift into .venv-swift (a minute, once)"
	@$(call make_venv,.venv-swift)
	@$(call pip_install,.venv-swift,-e '.[interop]')
	@touch $@

.venv-keystone/.installed: tests/interop/keystone-requirements.txt
	@echo "installing a real Keystone into .venv-keystone (a minute, once)"
	@$(call make_venv,.venv-keystone)
	@$(call pip_install,.venv-keystone,-r $<)
	@touch $@

.venv-conformance/.installed: tests/conformance/requirements.txt
	@$(call need,gcc,gcc)
	@$(call need_library,erasurecode,liberasurecode-dev)
	@echo "installing Swift's functional tests into .venv-conformance (two minutes, once)"
	@$(call make_venv,.venv-conformance)
	@$(call pip_install,.venv-conformance,-r tests/conformance/requirements.txt)
	@rm -rf .venv-conformance/swift-src .venv-conformance/sdist && mkdir .venv-conformance/swift-src
	@.venv-conformance/bin/python -m pip download --quiet --quiet --disable-pip-version-check --no-input \
		--no-deps --no-binary swift --dest .venv-conformance/sdist "$$(grep ^swift $<)"
	@tar -xzf .venv-conformance/sdist/swift-*.tar.gz -C .venv-conformance/swift-src --strip-components=1
	@touch $@

comma := ,
# $(call make_venv,folder)
make_venv = $(PYTHON) -m venv $1 || { echo "$(PYTHON) cannot make a virtual environment; \
Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
# $(call pip_install,folder,what)
pip_install = $1/bin/python -m pip install --quiet --quiet --disable-pip-version-check --no-input $2
# $(call need,program,package), $(call need_header,file,package), $(call need_library,name,package)
need = command -v $1 >/dev/null || { echo "$1 is missing; $(call install,$2)" >&2; exit 1; }
need_header = echo '\#include <$1>' | gcc -E -I"$$($(PYTHON) -c 'import sysconfig; \
print(sysconfig.get_path("include"))')" - >/dev/null 2>&1 || { echo "$1 is missing; $(call install,$2)" >&2; exit 1; }
need_library = echo 'int main(void) { return 0; }' | gcc -x c -o /dev/null - -l$1 2>/dev/null || \
{ echo "lib$1 is missing; $(call install,$2)" >&2; exit 1; }
install = Debian and Ubuntu: apt-get install $1
