# Every target works from a fresh clone: what is missing is installed, or named.

.DEFAULT_GOAL := help
.PHONY: help demo test check bench

CARGO ?= cargo

help: ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## A throwaway primary and replica with sample data, and pgsluice in front of them
	@scripts/install-deps demo
	$(CARGO) build --release --locked
	@exec "$${CARGO_TARGET_DIR:-target}/release/pgsluice" demo

test: ## Every test: units, conversations, real PostgreSQL, drivers
	@scripts/install-deps test
	@scripts/run-tests

check: ## What CI runs: format, lints, documentation, tests, dependencies
	@.ci/run

bench: ## Measure beside PostgreSQL and PgBouncer, and write docs/benchmarks.md
	@scripts/install-deps bench
	@scripts/bench
