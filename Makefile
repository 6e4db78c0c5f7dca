# One set of build flags everywhere: the Microsoft Graph SDK takes minutes to
# compile, and any other flags compile it once more.
export GOFLAGS = -trimpath -buildvcs=false
export CGO_ENABLED = 0

# Where the home cannot be written, Go and npm keep what they need in this folder.
ifneq ($(shell test -w "$$HOME" && echo yes),yes)
$(warning The home folder cannot be written, so that .home in this folder takes its place.)
export HOME = $(CURDIR)/.home
endif

# What `handler version` prints. The same commit gives the same text, whatever
# else the repository holds.
VERSION ?= $(shell git describe --tags --always --dirty --abbrev=12 2>/dev/null || echo unversioned)

.PHONY: build package demo test bench clean

# The app root: what is deployed, or run with `func start` inside dist/.
build:
	rm -rf dist
	mkdir -p dist
	go build -ldflags='-s -w -X main.version=$(VERSION)' -o dist/ ./handler
	cp host.json dist/
	cp -R functions/. dist/
	test ! -f local.settings.json || cp local.settings.json dist/

# The zip that is deployed, with its checksum and bill of materials. The same
# commit gives the same bytes on every machine, with the toolchain that go.mod
# names.
package: export GOTOOLCHAIN = go$(shell sed -n 's/^go //p' go.mod)
package: export BUNDLE_VERSION = $(VERSION)
package:
	go run ./tools/bundle -out out -version "$$BUNDLE_VERSION"

# Azurite, the emulator of Azure Storage, and what the tests read Bicep with, as
# pinned by the lock file.
sandbox/node_modules: sandbox/package.json sandbox/package-lock.json
	cd sandbox && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	touch $@

# `make demo` serves a gallery until it is stopped; CHECK=1 checks the result
# and exits; HOST=func uses Azure Functions Core Tools in place of the
# sandbox's own host.
demo: build sandbox/node_modules
	go run ./sandbox/cmd/demo $(if $(CHECK),-check) $(if $(HOST),-host=$(HOST))

# Which cases are tried by tests that try very many, the fault matrix above all:
# those of a day, or the whole. sandbox/draw draws them.
FAULT_MATRIX ?= $(shell date -u +%F)
test: export FAULT_MATRIX := $(FAULT_MATRIX)

# A busy machine may need more than Go's ten minutes for the end-to-end tests.
# What takes longest and waits for the most begins first.
# TESTFLAGS=-json is for tools/slowest. Without debug symbols the test programs
# are linked in half of the time. Most tests wait for storage, so that two cores
# have room for four packages at once.
test: build sandbox/node_modules
	@echo "Tests of very many cases try those of FAULT_MATRIX=$$FAULT_MATRIX; FAULT_MATRIX=whole takes minutes more."
	go test -p=4 -timeout=60m -ldflags='-s -w' $(TESTFLAGS) ./sandbox/e2e ./sandbox/cmd/demo ./handler/internal/tenantsync ./handler/internal/documents ./...

# Every benchmark runs once; sandbox/bench, which says what its numbers mean,
# builds its own bundle and runs last.
bench: sandbox/node_modules
	go test -p=1 -run='^$$' -bench=. -benchtime=1x -timeout=180m ./handler/... ./sandbox/e2e ./sandbox/bench

clean:
	rm -rf dist out sandbox/node_modules
