# The two commands of the README are `make demo` and `make test`. Each installs what it lacks first.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

SWIFT ?= swift
MODEL ?= Examples/Models/silero_vad_16k.safetensors
PYTHON_MODULES := numpy safetensors zstandard xxhash gguf

BUILD_PACKAGES := libzstd-dev libsqlite3-dev libxxhash-dev zlib1g-dev libopenblas-dev
TEST_PACKAGES := $(BUILD_PACKAGES) python3 python3-venv sqlite3 git

.DEFAULT_GOAL := help
.PHONY: help build demo test test-torch test-asan test-tsan test-exhaustive test-faults test-kill fuzz soak bench gpu-check-bundle format lint clean

help:
	@echo "make demo              import, list, verify, show and export a real model (MODEL=path for another one)"
	@echo "make test              all tests, and a short soak under the sanitizers"
	@echo "make test-torch        compare PyTorch files with what PyTorch reads, which is installed for it (about a gigabyte)"
	@echo "make test-asan         all tests under AddressSanitizer, with leaks, and traps for undefined behaviour in C (half an hour)"
	@echo "make test-tsan         all tests under ThreadSanitizer, which must first see a planted race"
	@echo "make test-exhaustive   every cut and every flipped bit of small containers, in release"
	@echo "make fuzz              fuzz the readers, codecs and commands (SECONDS=60 each)"
	@echo "make soak              random operations beside a model of what should be there (SECONDS=60)"
	@echo "make test-faults       a full disk, a read-only one, and failing system calls, in the built tool (strace)"
	@echo "make test-kill         kill imports, migrations and trainings at random moments (MODEL=path, RUNS=50)"
	@echo "make bench             time NNStore and NNTensor beside what users would pick instead (Benchmarks/README.md)"
	@echo "make gpu-check-bundle  make .build-gpu/gpu-check.tar.xz, to be run on a machine with a GPU and no Swift"
	@echo "make format            format the sources"
	@echo "make clean             remove what was built"

# Installs Debian packages that are missing; needs no network when none is.
define install
	@scripts/install-packages $(1)
endef

build:
	$(call install,$(BUILD_PACKAGES))
	$(SWIFT) build -c release --product ckpt-tool

demo: build
	@scripts/demo "$(MODEL)" "$$($(SWIFT) build -c release --show-bin-path)/ckpt-tool"

# The modules that tests compare with. Where they can't be had, the tests concerned say so and pass over.
.venv/complete: Makefile
	@rm -rf .venv
	@if python3 -m venv .venv && .venv/bin/pip install --quiet --disable-pip-version-check $(PYTHON_MODULES); then \
		touch .venv/complete; \
	else \
		echo "The Python modules $(PYTHON_MODULES) could not be installed; tests that need them will be passed over." >&2; \
	fi

test:
	$(call install,$(TEST_PACKAGES))
	@$(MAKE) --no-print-directory .venv/complete
	$(SWIFT) build --build-tests
	$(SWIFT) test --skip-build --disable-xctest
	$(TSAN_RUN) scripts/soak-sanitized thread 10 $(TSAN_BUILD)
	$(ASAN_RUN) scripts/soak-sanitized address 10 $(ASAN_BUILD)

test-torch:
	$(call install,$(TEST_PACKAGES))
	@$(MAKE) --no-print-directory .venv/complete
	.venv/bin/pip install --quiet --disable-pip-version-check torch
	$(SWIFT) build --build-tests
	$(SWIFT) test --skip-build --disable-xctest --filter ForeignPeerTests

# Of the parts in C: a trap for each thing that C leaves undefined.
ASAN_BUILD := --sanitize=address -Xcc -fsanitize=undefined -Xcc -fsanitize-trap=undefined --scratch-path .build-asan
ASAN_RUN := env LSAN_OPTIONS=suppressions=$(CURDIR)/Tests/alive-at-exit.txt:print_suppressions=0
test-asan:
	$(call install,$(TEST_PACKAGES))
	@$(MAKE) --no-print-directory .venv/complete
	$(ASAN_RUN) scripts/soak-sanitized address 10 $(ASAN_BUILD)
	$(SWIFT) build --build-tests $(ASAN_BUILD)
	$(ASAN_RUN) $(SWIFT) test --skip-build --disable-xctest $(ASAN_BUILD)

# Without setarch, which some containers forbid, the sanitizer sometimes dies at the start, of where the system has put its
# memory. It passes over races whose first half it has forgotten, so it is let remember as much as it can. There are fewer
# replacements because each takes it a tenth of a second.
TSAN_BUILD := --sanitize=thread --scratch-path .build-tsan
TSAN_RUN := $(shell setarch $(shell uname -m) -R echo setarch $(shell uname -m) -R 2>/dev/null) env \
	NNSTORE_REPLACEMENTS=50 TSAN_OPTIONS=suppressions=$(CURDIR)/Tests/known-races.txt:history_size=7
test-tsan:
	$(call install,$(TEST_PACKAGES))
	@$(MAKE) --no-print-directory .venv/complete
	$(TSAN_RUN) scripts/soak-sanitized thread 10 $(TSAN_BUILD)
	$(SWIFT) build --build-tests $(TSAN_BUILD)
	$(TSAN_RUN) $(SWIFT) test --skip-build --disable-xctest $(TSAN_BUILD)

test-exhaustive:
	$(call install,$(TEST_PACKAGES))
	NNSTORE_EXHAUSTIVE=1 $(SWIFT) test --disable-xctest -c release -Xswiftc -enable-testing --scratch-path .build-exhaustive --filter DamageTests

SECONDS ?= 60
fuzz:
	$(call install,$(BUILD_PACKAGES))
	@scripts/fuzz $(SECONDS)

test-faults: build
	$(call install,strace util-linux python3)
	@scripts/system-faults.py "$$($(SWIFT) build -c release --show-bin-path)/ckpt-tool"

soak:
	$(call install,$(BUILD_PACKAGES))
	$(SWIFT) build -c release --product soak
	"$$($(SWIFT) build -c release --show-bin-path)/soak" --seconds $(SECONDS)

RUNS ?= 50
test-kill: build
	@scripts/kill-imports "$(MODEL)" "$$($(SWIFT) build -c release --show-bin-path)/ckpt-tool" $(RUNS)
	@scripts/kill-migrations "$(MODEL)" "$$($(SWIFT) build -c release --show-bin-path)/ckpt-tool" $(RUNS)
	$(SWIFT) build -c release --product Train
	@scripts/kill-training "$$($(SWIFT) build -c release --show-bin-path)/Train" "$$($(SWIFT) build -c release --show-bin-path)/ckpt-tool" $(RUNS)

# The programs that benchmarks compare with; about a gigabyte.
.build-bench-venv/complete: Benchmarks/requirements.txt
	$(call install,$(BUILD_PACKAGES) python3 python3-venv python3-numpy)
	@rm -rf .build-bench-venv
	python3 -m venv .build-bench-venv
	.build-bench-venv/bin/pip install --quiet --disable-pip-version-check -r Benchmarks/requirements.txt
	@touch .build-bench-venv/complete

bench: .build-bench-venv/complete
	$(SWIFT) build -c release --package-path Benchmarks
	.build-bench-venv/bin/python Benchmarks/prepare.py --out .build-bench-data
	.build-bench-venv/bin/python Benchmarks/compare.py $(BENCH_OPTIONS)
	.build-bench-venv/bin/python Benchmarks/compare_tensors.py
	.build-bench-venv/bin/python Benchmarks/compare_models.py
	$(SWIFT) build -c release --product ckpt-tool
	.build-bench-venv/bin/python Benchmarks/compare_imports.py

gpu-check-bundle:
	$(call install,$(BUILD_PACKAGES) binutils xz-utils)
	@scripts/bundle-gpu-check

format:
	$(SWIFT) format --in-place --recursive --parallel Package.swift Sources Tests Examples Benchmarks/Package.swift Benchmarks/Sources Fuzz/Package.swift Fuzz/Sources

lint:
	$(SWIFT) format lint --strict --recursive --parallel Package.swift Sources Tests Examples Benchmarks/Package.swift Benchmarks/Sources Fuzz/Package.swift Fuzz/Sources

clean:
	rm -rf .build .build-* .venv
