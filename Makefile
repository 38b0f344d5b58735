# Headroom. Needs Go and make, nothing else. `make` lists the targets.

BIN      := bin
PROGRAMS := node loadgen planner reports
SEEDS    ?= 200
GO       ?= go

.DEFAULT_GOAL := help
.PHONY: help build test check race sim sim-planted sim-figures sim-verdicts soak crash bench bench-engine bench-null bench-planner e2e demo fmt lint clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## write bin/headroom-*
	@mkdir -p $(BIN)
	@for p in $(PROGRAMS); do CGO_ENABLED=0 $(GO) build -trimpath -o $(BIN)/headroom-$$p ./$$p || exit 1; done

test: ## unit tests, simulation seeds, virtual networks, a short real run (under 3 minutes)
	$(GO) vet ./...
	$(GO) test $$($(GO) list ./... | grep -v /node/sim$$)
	$(GO) test ./node/sim -seeds $(SEEDS)

check: fmt-check lint test ## what every commit passes

race: ## the packages with goroutines under the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race ./node/transport/... ./node/disk/... ./node/client ./node/server ./loadgen/...
	CGO_ENABLED=1 $(GO) test -race ./node/storage -crash-ops 30

sim: ## simulation seeds: make sim SEEDS=2000
	$(GO) test ./node/sim -run 'TestSeeds|SameTrace' -count 1 -seeds $(SEEDS) -twice $(or $(TWICE),3) -timeout 0 -v

sim-planted: ## bugs planted one by one: the simulator must find each (two minutes)
	$(GO) test -tags planted ./node/sim -run TestPlantedBugsAreFound -count 1 -timeout 0 -v

sim-figures: ## agreement, detection, cost per node, balance: virtual time (minutes)
	nice $(GO) test ./node/sim -run 'Within300ms|GrowsGently|MovesLittle|KilledProcess|SilentNode|Merge' -figures -v

sim-verdicts: ## healthy nodes given up in bad weather: make sim-verdicts NODE_HOURS=1000
	$(GO) test ./node/sim -run HealthyNode -node-hours $(or $(NODE_HOURS),1000) -timeout 0 -v

bench-null: ## a target that takes no time: this generator beside vegeta and fortio (fetches them)
	$(GO) test -run '^$$' -bench NullSink -benchtime 3s -count $(or $(COUNT),3) ./loadgen/drive
	cd hack/nullsink && LOGGER_LEVEL=error $(GO) run . # fortio tells of each thread

bench-planner: build ## the planner against real runs on emulated devices: errors and gates (9 minutes, wants a quiet machine)
	$(GO) run ./hack/benchplanner

crash: ## the storage engine crashed at 10,000 points of 2,000 operations
	$(GO) test ./node/storage -run "TestCrash|TestFault" -crash-ops 2000 -v -timeout 10m

soak: ## healthy nodes for 10,000 hours, then seeds until told to stop; out/soak.txt keeps those that fail
	@mkdir -p out
	$(MAKE) sim-verdicts NODE_HOURS=10000
	$(GO) test ./node/sim -run TestSeeds -first $$(date +%s)000 -soak $(CURDIR)/out/soak.txt -timeout 0 -v

bench: ## benchmarks of the hot paths, ready for benchstat
	$(GO) test -run '^$$' -bench . -benchtime 1s -count $(or $(COUNT),3) ./node/storage ./node/disk ./node/transport ./node/partition ./node/record ./loadgen/...

bench-engine: ## the storage engine beside its targets and fio (under 4 minutes, wants a quiet machine and fio)
	@hack/bench-engine.sh

e2e: build ## real processes: kill, stop, rejoin, failing devices, full file systems under load, audited
	$(GO) test ./hack/e2e -count 1 -e2e -timeout 25m

demo: build ## four nodes, load, a kill, a report in out/demo (under two minutes)
	@hack/demo.sh

fmt: ## format the code
	gofmt -w $$(git ls-files '*.go')

.PHONY: fmt-check
fmt-check:
	@out=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$out" || { echo "not formatted (make fmt):"; echo "$$out"; exit 1; }

lint: ## vet, staticcheck, and the rules of the house (hack)
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) test ./hack -count 1

clean: ## remove what make wrote
	rm -rf $(BIN) out
