# remem: every target a person types. `make help` lists them.
# Rooms are discovered: a new .c in lib/, memserver/, client/, vmemdirect/, tests/unit/,
# tests/fuzz/ or bench/ needs no line here. Flavours build into folders of their own:
#   make FLAVOUR=asan   -> build-asan/     make FLAVOUR=tsan -> build-tsan/

FLAVOUR ?=
PREFIX  ?= /usr/local
CC      ?= gcc
VERSION := $(shell cat VERSION)

# V=1 shows the commands.
Q   := $(if $(V),,@)
say  = $(if $(V),@:,@echo '  $(1)	$@')

B := build$(if $(FLAVOUR),-$(FLAVOUR))

PKGS_lib        := json-c openssl
PKGS_memserver  := json-c libcap libmicrohttpd libseccomp libsystemd openssl pam
PKGS_client     := json-c openssl
PKGS_vmemdirect := json-c libmicrohttpd libnbd libsystemd liburing ncursesw openssl
PKGS_all        := $(sort $(PKGS_lib) $(PKGS_memserver) $(PKGS_client) $(PKGS_vmemdirect))
pkgflags         = $(shell pkg-config --cflags $(1) 2>/dev/null)
pkglibs          = $(shell pkg-config --libs $(1) 2>/dev/null)

WARN   := -Wall -Wextra -Wstrict-prototypes -Wmissing-prototypes -Wshadow \
          -Wpointer-arith -Wvla -Wno-unused-parameter -Werror=implicit-function-declaration
OPT    := -O2
ifeq ($(FLAVOUR),asan)
OPT    := -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined
endif
ifeq ($(FLAVOUR),tsan)
OPT    := -O1 -fsanitize=thread
endif
ifeq ($(FLAVOUR),fuzz)
CC     := clang
OPT    := -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
endif
CFLAGS ?= -g
ALL_CFLAGS = $(CFLAGS) -std=gnu11 $(OPT) $(WARN) -pthread -I. -D_GNU_SOURCE \
             -DREMEM_VERSION='"$(VERSION)"' -MMD -MP $(call pkgflags,$(PKGS_all))
# Bound at start: a first call on the serving path would look through all libraries' symbols.
ALL_LDFLAGS = $(LDFLAGS) -Wl,-z,now $(filter -fsanitize%,$(subst fuzzer-no-link$(comma),,$(OPT))) -pthread
comma := ,

rwild = $(sort $(shell find $(1) -name '*.c' 2>/dev/null))
obj   = $(patsubst %.c,$(B)/obj/%.o,$(1))

LIB_SRC        := $(call rwild,lib)
MEMSERVER_SRC  := $(filter-out memserver/main.c,$(call rwild,memserver))
VMEMDIRECT_SRC := $(filter-out vmemdirect/main.c,$(call rwild,vmemdirect))
CLIENT_MAINS   := client/memswap.c client/memctl.c
CLIENT_SRC     := $(filter-out $(CLIENT_MAINS),$(call rwild,client))

PROGRAMS := $(patsubst %,$(B)/%,$(foreach p,memserver vmemdirect,$(if $(wildcard $(p)/main.c),$(p))) \
            $(foreach p,memswap memctl,$(if $(wildcard client/$(p).c),$(p))))
UNIT  := $(patsubst tests/unit/%.c,$(B)/tests/unit/%,$(call rwild,tests/unit))
FUZZ  := $(patsubst tests/fuzz/%.c,$(B)/tests/fuzz/%,$(filter-out tests/fuzz/replay.c,$(wildcard tests/fuzz/*.c)))
TOOLS := $(patsubst %.c,$(B)/%,$(wildcard tests/tools/*.c))
BENCH_LIB := $(call rwild,bench/lib)
BENCH := $(patsubst %.c,$(B)/%,$(filter-out $(BENCH_LIB),$(call rwild,bench)))

# What is not installed yet is said once, in words, not by the compiler.
NEEDS_NOTHING := help deps check demo bench clean lint check-layers format
ifneq ($(filter-out $(NEEDS_NOTHING),$(or $(MAKECMDGOALS),all)),)
MISSING := $(shell for p in $(PKGS_all); do pkg-config --exists $$p 2>/dev/null || echo $$p; done)
ifneq ($(MISSING),)
$(error not installed: $(MISSING); run "make deps")
endif
endif

.PHONY: all help deps tests check demo bench lint check-layers fuzz install clean format
all: $(PROGRAMS)

help:
	@echo 'make               the programs, in build/'
	@echo 'make deps          install what building and testing needs (Debian, as root)'
	@echo 'make check         install, build every flavour, run the whole suite'
	@echo 'make check T=PAT   only the tests whose path matches PAT'
	@echo 'make demo          the main job, end to end, on real guests'
	@echo 'make bench         us and the peers, interleaved; table and plot in results/'
	@echo 'make lint          clang-format, cppcheck, who may include whom'
	@echo 'make fuzz T=NAME   fuzz one parser (names: tests/fuzz/*.c); SECONDS=60'
	@echo 'make install       DESTDIR= PREFIX=$(PREFIX)'

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<

define archive
@mkdir -p $(@D)
$(call say,AR)
@rm -f $@
$(Q)ar rcs $@ $^
endef
$(B)/lib.a: $(call obj,$(LIB_SRC)) ; $(archive)
$(B)/memserver.a: $(call obj,$(MEMSERVER_SRC)) ; $(archive)
$(B)/vmemdirect.a: $(call obj,$(VMEMDIRECT_SRC)) ; $(archive)
$(B)/client.a: $(call obj,$(CLIENT_SRC)) ; $(archive)

define link
@mkdir -p $(@D)
$(call say,LD)
$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(1)
endef
$(B)/memserver: $(B)/obj/memserver/main.o $(B)/memserver.a $(B)/lib.a
	$(call link,$(call pkglibs,$(PKGS_memserver)))
$(B)/vmemdirect: $(B)/obj/vmemdirect/main.o $(B)/vmemdirect.a $(B)/lib.a
	$(call link,$(call pkglibs,$(PKGS_vmemdirect)))
$(B)/memswap: $(B)/obj/client/memswap.o $(B)/client.a $(B)/lib.a
	$(call link,$(call pkglibs,$(PKGS_client)))
$(B)/memctl: $(B)/obj/client/memctl.o $(B)/client.a $(B)/lib.a
	$(call link,$(call pkglibs,$(PKGS_client)))

# A unit test links the real objects of every room; the archives give it what it names.
$(B)/tests/unit/%: $(B)/obj/tests/unit/%.o $(B)/memserver.a $(B)/vmemdirect.a $(B)/client.a $(B)/lib.a
	$(call link,$(call pkglibs,$(PKGS_all)) -lcmocka)
$(B)/tests/tools/%: $(B)/obj/tests/tools/%.o $(B)/lib.a
	$(call link,$(call pkglibs,$(PKGS_lib) liburing))
$(B)/bench.a: $(call obj,$(BENCH_LIB)) ; $(archive)
$(B)/bench/%: $(B)/obj/bench/%.o $(B)/bench.a $(B)/lib.a
	$(call link,$(call pkglibs,$(PKGS_lib) liburing))
$(B)/bench/migration/%: $(B)/obj/bench/migration/%.o $(B)/vmemdirect.a $(B)/lib.a
	$(call link,$(call pkglibs,$(PKGS_vmemdirect)))
# With clang's fuzzer (make fuzz) the driver is libFuzzer's; elsewhere it is replay.c.
$(B)/tests/fuzz/%: $(B)/obj/tests/fuzz/%.o $(if $(filter fuzz,$(FLAVOUR)),,$(B)/obj/tests/fuzz/replay.o) \
		$(B)/memserver.a $(B)/vmemdirect.a $(B)/client.a $(B)/lib.a
	$(call link,$(call pkglibs,$(PKGS_all)) $(if $(filter fuzz,$(FLAVOUR)),-fsanitize=fuzzer))

.SECONDARY:
programs: $(PROGRAMS)
tests: $(PROGRAMS) $(UNIT) $(FUZZ) $(TOOLS)
benches: $(BENCH)

deps:
	tests/deps

check: deps
	tests/run $(T)

demo: deps
	$(MAKE) all benches tests
	tests/demo

bench: deps
	$(MAKE) all benches
	bench/run

lint: check-layers
	clang-format --dry-run -Werror $$(git ls-files '*.c' '*.h')
	cppcheck -q --inline-suppr --error-exitcode=1 --std=c11 -I. \
		--enable=warning,portability $$(git ls-files 'lib/*.c' 'memserver/*.c' 'client/*.c' 'vmemdirect/*.c')

check-layers:
	tests/lint/layers

format:
	clang-format -i $$(git ls-files '*.c' '*.h')

SECONDS ?= 60
fuzz:
	@test -n "$(T)" || { echo 'make fuzz T=NAME; names:' $(notdir $(FUZZ)); exit 2; }
	$(MAKE) FLAVOUR=fuzz build-fuzz/tests/fuzz/$(T)
	mkdir -p build-fuzz/corpus/$(T)
	build-fuzz/tests/fuzz/$(T) -max_total_time=$(SECONDS) build-fuzz/corpus/$(T) tests/fuzz/corpus/$(T)

MAN1 := $(wildcard client/*.1 vmemdirect/*.1)
MAN8 := $(wildcard memserver/*.8 client/*.8 vmemdirect/*.8)
install: all
	install -d $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/man/man8
	install -m 755 $(PROGRAMS) $(DESTDIR)$(PREFIX)/sbin
	$(if $(MAN1),install -m 644 $(MAN1) $(DESTDIR)$(PREFIX)/share/man/man1)
	$(if $(MAN8),install -m 644 $(MAN8) $(DESTDIR)$(PREFIX)/share/man/man8)
	install -d $(DESTDIR)/etc/pam.d
	test -e $(DESTDIR)/etc/pam.d/memserver || install -m 644 memserver/memserver.pam $(DESTDIR)/etc/pam.d/memserver
	install -d $(DESTDIR)/usr/lib/sysusers.d
	install -m 644 memserver/memserver.sysusers $(DESTDIR)/usr/lib/sysusers.d/memserver.conf
	test -n "$(DESTDIR)" || ! command -v systemd-sysusers >/dev/null || systemd-sysusers memserver.conf
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	for u in $(wildcard */*.service */*.mount); do \
		sed 's#@PREFIX@#$(PREFIX)#g' $$u > $(DESTDIR)$(PREFIX)/lib/systemd/system/$$(basename $$u); done

clean:
	rm -rf build build-asan build-tsan build-fuzz

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)
