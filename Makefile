# Plain make and sh; "make help" lists the targets. Settings that can be given
# on the command line, as in "make fuzz FUZZTIME=10m":

FUZZTIME = 5s
BENCH = .
TESTFLAGS =

# Programs that check the code, at the versions pinned in internal/tools/go.mod.
TOOL = go tool -modfile=internal/tools/go.mod

# Programs that the tests talk to, at the versions pinned in package-lock.json.
KIT = internal/testhub/node
KIT_INSTALLED = $(KIT)/node_modules/.package-lock.json

# No test may be skipped because something that it needs is not there.
REQUIRE = REQUIRE_NODE_TESTS=1 REQUIRE_STORAGE_TESTS=1

.PHONY: help build demo test check bench fuzz lint fmt fmt-check vet race vuln tidy kit clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

build: ## build bin/taskhub
	go build -o bin/ ./cmd/taskhub

demo: build ## export a bundled capture to Parquet in demo-out and list the files
	rm -rf demo-out
	bin/taskhub export --snapshot testdata/hubs/dtfx-2.9.1.taskhub --out demo-out --format parquet
	@echo
	@find demo-out -type f -exec wc -c {} +

test: kit ## install what the tests need from npm, then run all of them
	$(REQUIRE) go test -timeout 25m $(TESTFLAGS) ./...

check: fmt-check vet lint tidy race fuzz vuln ## everything that CI runs on Linux

bench: kit ## run the benchmarks; BENCH=regexp chooses some
	$(REQUIRE) go test -run '^$$' -bench '$(BENCH)' -benchmem -timeout 60m $(TESTFLAGS) ./...

# The list is the output of go test: the names of a package's targets, then its
# "ok" line.
fuzz: ## run every fuzz target for FUZZTIME
	@set -e; list=$$(go test -list '^Fuzz' ./...); \
	targets=$$(echo "$$list" | awk '/^Fuzz/ { names[n++] = $$1 } \
		/^ok/ { while (n > 0) print $$2 "," names[--n] }'); \
	for target in $$targets; do \
		echo "go test -fuzz $${target#*,} $${target%,*}"; \
		go test -run '^$$' -fuzz "^$${target#*,}\$$" -fuzztime $(FUZZTIME) "$${target%,*}"; \
	done

lint: ## run golangci-lint
	$(TOOL) golangci-lint run ./...

fmt: ## format the code
	$(TOOL) gofumpt -w .

fmt-check: ## show what make fmt would change, fail if anything
	@echo "gofumpt -d ."; diff=$$($(TOOL) gofumpt -d .) && test -z "$$diff" || { echo "$$diff"; exit 1; }

vet: ## run go vet
	go vet ./...

race: kit ## run all tests under the race detector
	$(REQUIRE) go test -race -timeout 40m $(TESTFLAGS) ./...

# The database of known vulnerabilities is on the network. Without it this says
# so and goes on, unless REQUIRE_VULNCHECK is set, as it is in CI.
vuln: ## look for known vulnerabilities in what the module uses
	@echo "govulncheck ./..."; status=0; out=$$($(TOOL) govulncheck ./... 2>&1) || status=$$?; \
	case "$$status$$REQUIRE_VULNCHECK $$out" in \
	"1 "*"fetching vulnerabilities"*) \
		echo "NOT RUN: govulncheck cannot reach its database: $${out##*fetching vulnerabilities: }" ;; \
	*)	echo "$$out"; exit $$status ;; \
	esac

tidy: ## fail if go mod tidy would change go.mod or go.sum
	go mod tidy -diff

kit: $(KIT_INSTALLED) ## install DuckDB and Azurite for the tests

$(KIT_INSTALLED): $(KIT)/package.json $(KIT)/package-lock.json
	cd $(KIT) && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error

clean: ## remove what the other targets made, except what kit installed
	rm -rf bin demo-out
