# Everything a developer or an administrator does here has a verb: `make help` lists them.

CARGO     ?= cargo
APXS      ?= apxs
PREFIX    ?= /usr/local
DESTDIR   ?=
LAYOUT    ?=
PYTHON    := build/venv/bin/python
TOOLS     := test/tools
# What `make check` consists of; each counts as one test in `make test`.
# Those that compile come last: pytest begins beside them, and asks cargo whether its module is new.
CHECKS    := fmt layers rooms plain coverage deny symbols doc clippy
# Where the crates of a release are unpacked, cargo uses these and no network.
LOCKED    := $(if $(wildcard vendor/config.toml),--config vendor/config.toml --frozen,--locked)
# The profile of the tests: what runs at build time is compiled once for all.
LINT      := $(CARGO) clippy $(LOCKED) --profile quick --all-targets
DOC       := RUSTDOCFLAGS="-D warnings" $(CARGO) doc $(LOCKED) --profile quick --no-deps --document-private-items
# How cargo runs programs of tests.
RUNNER    := ["env", "LD_PRELOAD=$(CURDIR)/build/rsa_keys.so", "RSA_KEYS=$(CURDIR)/build/rsa_keys.used"]
# pytest's own arguments, as in `make pytest ARGS='-k renewal -x'`.
ARGS      ?= -n 8 --dist worksteal

export CARGO APXS PREFIX DESTDIR LAYOUT

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:

.PHONY: help build-deps test-packages test-deps deps build install uninstall demo check $(CHECKS) advisories unittest pytest planted interop test soak bench bench-gate fuzz hostile memcheck screenshots rpm image-layout fresh clean dist deb deb-check release-check manual

help: ## List these verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

include c-shim/module.mk

build-deps: ## Install what `make build` needs: compiler, headers, apxs, libclang, Rust
	@$(TOOLS)/deps.sh build

test-packages:
	@$(TOOLS)/deps.sh test

build/pebble/bin/pebble: $(TOOLS)/pebble.sh | test-packages
	@$(TOOLS)/pebble.sh

build/oracle/mod_md.so: $(TOOLS)/oracle.sh | test-packages
	@$(TOOLS)/oracle.sh

build/debian/usr/share/apache2/ask-for-passphrase: $(TOOLS)/debian.sh | test-packages
	@$(TOOLS)/debian.sh
	@touch $@

build/bind/named: $(TOOLS)/named.sh | test-packages
	@$(TOOLS)/named.sh

build/prometheus/promtool: $(TOOLS)/promtool.sh | test-packages
	@$(TOOLS)/promtool.sh
	@touch $@

# Without npm the pages are not judged, which is said each time.
build/axe/installed: $(TOOLS)/axe.sh
	@$(TOOLS)/axe.sh

build/venv/installed: test/requirements.txt $(TOOLS)/requirements.txt | test-packages
	@$(TOOLS)/venv.sh

# The ACME servers of others: one that cannot be had is said each time, and its tests are skipped.
build/caddy/installed: $(TOOLS)/caddy.sh | test-packages
	@$(TOOLS)/caddy.sh

build/authorities/installed: test/interop/requirements.txt $(TOOLS)/authorities.sh | test-packages
	@$(TOOLS)/authorities.sh

build/acmeeh/installed: test/interop/acmeeh.txt $(TOOLS)/acmeeh.sh | test-packages
	@$(TOOLS)/acmeeh.sh

AUTHORITIES := caddy/installed authorities/installed acmeeh/installed
DOWNLOADS := pebble/bin/pebble oracle/mod_md.so debian/usr/share/apache2/ask-for-passphrase bind/named prometheus/promtool axe/installed venv/installed $(AUTHORITIES)
test-deps: test-packages $(addprefix build/,$(DOWNLOADS)) ## Install what the tests and the demo need, below build/ where possible

deps: build-deps test-deps ## Install both

build: build/mod_md.so build/a2md ## Build the module and a2md: build/mod_md.so, build/a2md

# What is optimised is installed as it is: root, by sudo, has no cargo as a rule.
install: $(if $(filter release,$(shell cat build/profile 2>/dev/null)),,build) ## Install both; DESTDIR, PREFIX and LAYOUT=debian|fedora|plain are obeyed, files of packages never touched
	@$(TOOLS)/install.sh install

uninstall: ## Remove what install put there
	@$(TOOLS)/install.sh uninstall

# A make of its own for the build: what deps installs is asked for its paths (apxs -q) only now.
demo: deps ## Obtain and serve a certificate from a private CA and show it; KEEP=1 leaves it running
	@$(MAKE) --no-print-directory build PROFILE=quick
	@$(PYTHON) test/demo.py $(if $(KEEP),--keep)

check: $(CHECKS) ## Format, lints, documentation, layers, rooms, plain sources, symbols, coverage of the list of known bugs, rules for dependencies

fmt:
	@$(TOOLS)/current.sh || $(CARGO) fmt --all --check

clippy:
	@$(TOOLS)/current.sh || { $(LINT) -- -D warnings && $(LINT) --features httpd -- -D warnings; }

doc:
	@$(TOOLS)/current.sh || { $(DOC) && $(DOC) --features httpd; }

layers:
	@python3 $(TOOLS)/layers.py

rooms:
	@python3 $(TOOLS)/rooms.py

plain:
	@python3 $(TOOLS)/plain.py

symbols: build/mod_md.so build/a2md
	@python3 $(TOOLS)/symbols.py build/mod_md.so

coverage:
	@python3 $(TOOLS)/coverage.py

deny:
	@$(TOOLS)/deny.sh bans licenses sources

# Not a part of check: the database is fetched, and it changes without a change here.
advisories: ## Ask the RustSec database whether a dependency has a known weakness; needs the network
	@$(TOOLS)/deny.sh advisories

# The RSA keys of the tests need no search for primes: test/native/rsa_keys.c.
build/rsa_keys.so: test/native/rsa_keys.c test/native/rsa_primes.h
	@mkdir -p build
	@$(CC) -O2 -Wall -Wextra -Werror -shared -fPIC -o $@ $< -lcrypto

unittest: build/rsa_keys.so ## Test the core with cargo; needs no httpd
	@head -c 4 /dev/zero >build/rsa_keys.used
	@$(CARGO) test $(LOCKED) --no-fail-fast --profile quick --config 'target."cfg(unix)".runner = $(RUNNER)'

pytest: deps build build/mod_md_panic.so ## Test against httpd and Pebble; ARGS go to pytest
	@$(PYTHON) -m pytest $(ARGS) test

planted: deps build ## Test what somebody else has planted in a store; a part of pytest
	@$(PYTHON) -m pytest $(ARGS) test/test_planted.py

interop: deps build ## Test against the ACME servers of others alone, and say what is skipped; a part of pytest
	@$(PYTHON) -m pytest -rsx $(ARGS) test/interop

# run.py needs a Python before it can count; what else is missing is its first step.
test: $(if $(shell command -v python3),,test-packages) ## The gate: deps, build, check and unittest beside pytest; the last line counts what passed and failed
	@python3 $(TOOLS)/run.py $(CHECKS)

# Not a part of test: these take minutes, and their figures want a machine that does nothing else.
soak: deps ## Restart under load while renewals run; SOAK_RESTARTS=200, SOAK_MPM=event and others in test/soak.py
	@$(MAKE) --no-print-directory build
	@$(PYTHON) test/soak.py

bench: deps ## Measure the C module and ours side by side; BENCH_N=1000, BENCH_RUNS=3 and others in test/README.md
	@$(MAKE) --no-print-directory build
	@$(PYTHON) test/bench.py all

bench-gate: deps ## Count what a domain costs beside httpd without the module, and fail above a limit; wants valgrind and strace
	@$(MAKE) --no-print-directory build
	@$(PYTHON) test/bench_gate.py

fuzz: ## Call what reads the texts of others with inputs that are made up: TARGET, RUNS=100000, SANITIZE=1 for AddressSanitizer
	@$(TOOLS)/fuzz.sh $(TARGET)

hostile: deps ## Answer a server in each of the ways that test/hostile has, which takes minutes; the gate runs a selection
	@$(MAKE) --no-print-directory build
	@HOSTILE=all $(PYTHON) -m pytest -q -s test/hostile

memcheck: deps ## Run a server under valgrind, and a selection of the tests with AddressSanitizer; wants valgrind and a gcc with libasan
	@$(MAKE) --no-print-directory build
	@$(PYTHON) test/memcheck.py
	@$(TOOLS)/sanitize.sh

screenshots: deps ## Make the pictures in docs/images anew, of a server with a domain in each state, and of all its pages in build/screenshots
	@$(MAKE) --no-print-directory build
	@$(PYTHON) test/screenshots.py

rpm: dist ## Build the package for Fedora and others from the files of a release, and check it; wants rpm and rpmlint
	@$(TOOLS)/rpm.sh

image-layout: deps ## Build the container image on an httpd of the official image's layout, and run it; wants buildah and debootstrap
	@$(TOOLS)/image.sh

manual: deps ## Make build/manual of docs/directives.md: XML in the form of httpd's manual, and HTML
	@$(PYTHON) $(TOOLS)/manual.py

fresh: ## Run the demo and the gate in a new Debian below build/fresh: SUITE=trixie or bookworm
	@$(TOOLS)/fresh.sh

dist: ## Make the files of a release in build/dist from the last commit: the sources, and the crates for a build without network
	@$(TOOLS)/dist.sh

deb: ## Build Debian's packages of the last commit in build/deb; DEB_ARGS go to dpkg-buildpackage
	@$(TOOLS)/deb.sh $(DEB_ARGS)

deb-check: ## Build Debian's packages in a new Debian and try them in another: SUITE=trixie or bookworm
	@$(TOOLS)/deb_check.sh

release-check: ## Check the last commit for a release, as RELEASING.md lists it, which takes hours; STEPS=sources for one step
	@$(TOOLS)/release.sh $(STEPS)

clean: ## Remove what the build left; downloads and the Debian of fresh stay
	$(CARGO) clean
	rm -rf build/mod_md* build/a2md
