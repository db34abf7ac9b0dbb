# The front door for builders. `make help` lists the targets; each sets up what it needs.

export WS_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/ws-operator
export PATH := $(PATH):$(HOME)/.cargo/bin:/usr/local/go/bin

.DEFAULT_GOAL := help
.PHONY: help demo check test e2e lint fmt generate cluster cluster-down bench bench-operator attack image fuzz deny clean

help: ## This list
	@echo 'WebSockets for any app on Kubernetes by three lines of YAML. README.md is the way in.'; echo
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo; echo 'What is kept is outside the checkout, in $(WS_CACHE); WS_CACHE names another place.'

demo: ## Show a conversation on loopback; KEEP=1 goes on running, CLUSTER=1 is on a real cluster
	@demo/$(if $(CLUSTER),cluster,run) $(if $(KEEP),--keep)

check: ## What is quick of it: format, lint, unit and protocol tests; names what it leaves out
	@tests/all setup fmt lint quick

test: ## Everything that must hold (STAGES="fmt lint": only that)
	@tests/all $(STAGES)

e2e: ## The end-to-end tests on a real cluster (ARGS=served: only those)
	@ARGS='$(ARGS)' tests/all setup cluster e2e

lint: ## clippy, shellcheck
	@tests/all setup lint

fmt: ## Format the code
	@cargo fmt --all

generate: ## Write what is generated: CRDs, settings and reasons pages, the one-file example
	@tests/generate

cluster: ## Start a one-node cluster that stays, and say how to use it
	@tests/cluster/up

cluster-down: ## Remove that cluster without a trace
	@tests/cluster/down

bench: ## Compare with other gateways (ARGS=--help)
	@bench/run $(ARGS)

bench-operator: ## Measure the operator with 1,000 apps and 5,000 pods (ARGS=--help)
	@tests/bench-operator $(ARGS)

attack: ## Attack the gateway while others talk, and write docs/attack.md (root; ARGS=--help)
	@attack/run $(or $(ARGS),--write docs/attack.md)

image: ## Build both images with docker, or podman (TAG=0.1.0)
	@engine=$$(command -v docker || command -v podman) || { echo 'make image needs docker or podman' >&2; exit 1; }; \
	for program in operator gateway; do \
	  folder=$$([ $$program = gateway ] && echo sidecar || echo $$program); \
	  "$$engine" build --file $$folder/Dockerfile --tag ws-$$program:$(or $(TAG),latest) . || exit; \
	done

fuzz: ## Run the fuzz targets (SECONDS=60)
	@fuzz/run $(SECONDS)

deny: ## Check licences, sources and bans of the dependencies
	@tests/all setup deny

clean: ## Remove what was built, here and in the cache; the test cluster's programs stay
	@cargo clean --quiet; rm -rf '$(WS_CACHE)/target' '$(WS_CACHE)/fuzz-target'
