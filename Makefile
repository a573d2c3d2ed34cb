# Camellia's build.
#
#   make            release build of build/camellia and build/camelliad
#   make demo       install what is missing, build, and show the main job on real nodes
#   make test       install, build with warnings as errors and sanitizers, run every test
#   make check      the tests of one compiler only, without installing (for daily work)
#   make unit       the unit tests alone        make unit T=bencode   one of them
#   make sim        the simulator: NODES=.. SEED=.. MINUTES=.. whole nodes; with HOURS=.. the network alone, at scale
#                   with SETS=1000000 one large set, from its first entry to the last: NODES=.. SEED=.. K=..
#   make attacks    hostile peers: each attack with its number, defended and not
#   make bench      the table of budgets, each beside its floor
#   make fuzz       libFuzzer over every decoder, briefly: FUZZ_SECONDS=..
#   make layers     dependencies run one way: core <- kad <- timeline <- cli; the map in README.md is true
#   make install    PREFIX=/usr/local DESTDIR=
#
# Variables: CC=gcc|clang, PROFILE=release|sanitize|debug|fuzz, V=1 to see commands.

CC      := $(if $(filter default,$(origin CC)),gcc,$(CC))
PROFILE ?= release
PREFIX  ?= /usr/local
DESTDIR ?=
BUILD   ?= build
OUT     := $(BUILD)/$(notdir $(CC))-$(PROFILE)
Q       := $(if $(V),,@)

PKGS    := libzmq libsodium jansson sqlite3 ncursesw inih libutf8proc libbsd libmd
WARN    := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
           -Wcast-qual -Wwrite-strings -Wformat=2 -Wundef -Wvla
CFLAGS_release  := -O2 -g -D_FORTIFY_SOURCE=2 -fstack-protector-strong
CFLAGS_debug    := -O0 -g
CFLAGS_sanitize := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all -Werror
CFLAGS_fuzz     := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=all
LDFLAGS_sanitize := -fsanitize=address,undefined
LDFLAGS_fuzz     := -fsanitize=address,undefined,fuzzer

ALL_CFLAGS  = -std=c11 -D_GNU_SOURCE -I. $(WARN) $(CFLAGS_$(PROFILE)) \
              $(shell pkg-config --cflags $(PKGS)) -MMD -MP $(CFLAGS)
ALL_LDFLAGS = $(LDFLAGS_$(PROFILE)) $(LDFLAGS)
LIBS        = $(shell pkg-config --libs $(PKGS)) -lm -lpthread

# Every .c of a folder belongs to that folder's library, except a program's main file.
MAINS        := cli/camellia.c cli/camelliad.c
src_of        = $(filter-out $(MAINS),$(wildcard $(1)/*.c))
obj_of        = $(patsubst %.c,$(OUT)/%.o,$(call src_of,$(1)))
LIB_core     := $(OUT)/libcore.a
LIB_kad      := $(OUT)/libkad.a
LIB_timeline := $(OUT)/libtimeline.a
LIB_cli      := $(OUT)/libcli.a
# Order matters to the linker: the upper layers first.
LIBS_OURS     = $(LIB_cli) $(LIB_timeline) $(LIB_kad) $(LIB_core)

UNIT_SRC  := $(wildcard tests/unit/*.c)
UNIT_BIN  := $(patsubst tests/unit/%.c,$(OUT)/tests/unit/%,$(UNIT_SRC))
FUZZ_SRC  := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_BIN  := $(patsubst tests/fuzz/%.c,$(OUT)/tests/fuzz/%,$(FUZZ_SRC))
BENCH_LIB := tests/bench/bench_floor.c tests/bench/bench_net.c
BENCH_SRC := $(filter-out $(BENCH_LIB),$(wildcard tests/bench/bench_*.c))
BENCH_BIN := $(patsubst tests/bench/%.c,$(OUT)/tests/bench/%,$(BENCH_SRC))

.PHONY: all demo test check unit unit-build sim sim-build hostile-build attacks attacks-build bench bench-build fuzz fuzz-build layers install clean programs deps
.DELETE_ON_ERROR:
.SECONDARY:

all: programs
	$(Q)mkdir -p $(BUILD) && ln -sf $(notdir $(OUT))/camellia $(notdir $(OUT))/camelliad $(BUILD)/

programs: $(OUT)/camellia $(OUT)/camelliad

$(OUT)/%.o: %.c
	@mkdir -p $(@D)
	$(Q)$(if $(V),,echo "  CC    $<" &&) $(CC) $(ALL_CFLAGS) -c -o $@ $<

$(LIB_core):     $(call obj_of,core)
$(LIB_kad):      $(call obj_of,kad)
$(LIB_timeline): $(call obj_of,timeline)
$(LIB_cli):      $(call obj_of,cli)
$(OUT)/lib%.a:
	@mkdir -p $(@D)
	$(Q)rm -f $@ && ar crs $@ $^

$(OUT)/camellia $(OUT)/camelliad: $(OUT)/%: $(OUT)/cli/%.o $(LIBS_OURS)
	$(Q)$(if $(V),,echo "  LINK  $@" &&) $(CC) $(ALL_LDFLAGS) -o $@ $< $(LIBS_OURS) $(LIBS)

# A unit test is tests/unit/test_LAYER_MODULE.c and links only that layer and what lies below it.
libs_upto_core     = $(LIB_core)
libs_upto_kad      = $(LIB_kad) $(LIB_core)
libs_upto_timeline = $(LIB_timeline) $(LIB_kad) $(LIB_core)
libs_upto_cli      = $(LIBS_OURS)
define unit_rule
$(OUT)/tests/unit/test_$(1)_%: $(OUT)/tests/unit/test_$(1)_%.o $(libs_upto_$(1))
	$(Q)$(if $(V),,echo "  LINK  $$@" &&) $(CC) $(ALL_LDFLAGS) -o $$@ $$< $(libs_upto_$(1)) $(LIBS) -lcmocka
endef
$(foreach layer,core kad timeline cli,$(eval $(call unit_rule,$(layer))))

# The profile fuzz brings libFuzzer's main; any other runs the seeds.
FUZZ_MAIN := $(if $(filter fuzz,$(PROFILE)),,$(OUT)/tests/fuzz/seeds.o)
$(OUT)/tests/fuzz/fuzz_%: $(OUT)/tests/fuzz/fuzz_%.o $(FUZZ_MAIN) $(LIBS_OURS)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $< $(FUZZ_MAIN) $(LIBS_OURS) $(LIBS)

# Each benchmark is a program; what several share is in BENCH_LIB.
BENCH_OBJ := $(patsubst %.c,$(OUT)/%.o,$(BENCH_LIB))
$(OUT)/tests/bench/%: $(OUT)/tests/bench/%.o $(BENCH_OBJ) $(LIBS_OURS)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $< $(BENCH_OBJ) $(LIBS_OURS) $(LIBS)

SIM_OBJ := $(OUT)/tests/sim.o $(OUT)/tests/sim_net.o $(OUT)/tests/sim_check.o
$(OUT)/tests/sim: $(SIM_OBJ) $(LIBS_OURS)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $(SIM_OBJ) $(LIBS_OURS) $(LIBS)

# The peer with bad intent that the end-to-end tests set on running nodes.
HOSTILE_OBJ := $(patsubst %.c,$(OUT)/%.o,$(wildcard tests/hostile/*.c))
$(OUT)/tests/hostile/hostile: $(HOSTILE_OBJ) $(LIBS_OURS)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $(HOSTILE_OBJ) $(LIBS_OURS) $(LIBS)

# A disk that fails to sync, preloaded into a node by the end-to-end tests. Without the sanitizers' flags: their
# runtime is the program's.
$(OUT)/tests/e2e/failing_fsync.so: tests/e2e/failing_fsync.c
	@mkdir -p $(@D)
	$(Q)$(if $(V),,echo "  CC    $<" &&) $(CC) -std=c11 -D_GNU_SOURCE -O1 $(WARN) -Werror $(CFLAGS) -shared -fPIC -o $@ $<

# Hostile peers against unmodified kad/ objects; the timing wheel is the large simulator's.
ATTACKS_OBJ := $(patsubst %.c,$(OUT)/%.o,$(wildcard tests/attacks_*.c)) $(OUT)/tests/scale_wheel.o
$(OUT)/tests/attacks $(OUT)/tests/bench/bench_attacks: $(OUT)/tests/%: $(OUT)/tests/%.o $(ATTACKS_OBJ) $(LIB_kad) $(LIB_core)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

# The network at scale: kad/ objects alone.
SCALE_OBJ := $(patsubst %.c,$(OUT)/%.o,$(wildcard tests/scale_*.c))
$(OUT)/tests/bench/bench_scale $(OUT)/tests/bench/bench_idle: $(OUT)/tests/bench/%: $(OUT)/tests/bench/%.o $(SCALE_OBJ) $(LIB_kad) $(LIB_core)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)
$(OUT)/tests/bench/bench_follows: $(OUT)/tests/bench/bench_follows.o $(OUT)/tests/sim_net.o $(LIBS_OURS)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)
$(OUT)/tests/scale: $(OUT)/tests/scale.o $(SCALE_OBJ) $(LIB_kad) $(LIB_core)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

# A large set over such a network. Each signature is verified once in the whole process: see tests/sets_entry.h.
SETS_OBJ := $(OUT)/tests/sets.o $(patsubst %.c,$(OUT)/%.o,$(wildcard tests/sets_*.c)) $(SCALE_OBJ)
$(OUT)/tests/sets: $(SETS_OBJ) $(LIB_kad) $(LIB_core)
	$(Q)$(CC) $(ALL_LDFLAGS) -Wl,--wrap=identity_verify -o $@ $^ $(LIBS)

unit-build: $(if $(T),$(filter %_$(T),$(UNIT_BIN)),$(UNIT_BIN))
unit:
	$(Q)$(MAKE) --no-print-directory PROFILE=sanitize unit-build T=$(T)
	$(Q)tests/run.sh unit $(BUILD)/$(notdir $(CC))-sanitize $(T)

layers:
	$(Q)tests/layers.sh
	$(Q)tests/map.sh

deps:
	$(Q)etc/install-deps.sh --test

# The build starts in a second make: pkg-config may not be there before deps.
test: deps
	$(Q)tests/all.sh $(BUILD)

check:
	$(Q)tests/all.sh $(BUILD) $(CC)

demo:
	$(Q)etc/install-deps.sh
	$(Q)$(MAKE) --no-print-directory -j$(shell nproc) all
	$(Q)tests/demo.sh $(BUILD)

sim-build: $(OUT)/tests/sim $(OUT)/tests/scale $(OUT)/tests/sets
hostile-build: $(OUT)/tests/hostile/hostile $(OUT)/tests/e2e/failing_fsync.so
attacks-build: $(OUT)/tests/attacks
NODES   ?= $(if $(HOURS)$(SETS),1000,10)
SEED    ?= 1
MINUTES ?= 10
sim:
	$(Q)$(MAKE) --no-print-directory PROFILE=release sim-build
	$(Q)$(BUILD)/$(notdir $(CC))-release/tests/$(if $(SETS),sets,$(if $(HOURS),scale,sim)) \
	    --nodes $(NODES) --seed $(SEED) $(if $(SETS),--entries $(SETS) $(if $(K),--k $(K)), \
	    $(if $(HOURS),--hours $(HOURS) $(if $(KEYS),--keys $(KEYS)),--minutes $(MINUTES)))

attacks:
	$(Q)$(MAKE) --no-print-directory PROFILE=release attacks-build
	$(Q)$(BUILD)/$(notdir $(CC))-release/tests/attacks

fuzz-build: $(FUZZ_BIN)
FUZZ_SECONDS ?= 10
fuzz:
	$(Q)$(MAKE) --no-print-directory -j$(shell nproc) CC=clang PROFILE=fuzz fuzz-build
	$(Q)tests/fuzz.sh $(BUILD)/clang-fuzz $(FUZZ_SECONDS)

bench-build: $(BENCH_BIN)
bench:
	$(Q)etc/install-deps.sh
	$(Q)$(MAKE) --no-print-directory -j$(shell nproc) PROFILE=release all bench-build
	$(Q)tests/bench/run.sh $(BUILD)/$(notdir $(CC))-release

install: all
	install -d $(addprefix $(DESTDIR)$(PREFIX)/,bin share/doc/camellia share/man/man1 lib/systemd/user)
	install -m 755 $(OUT)/camellia $(OUT)/camelliad $(DESTDIR)$(PREFIX)/bin/
	install -m 644 etc/camellia.1 etc/camelliad.1 $(DESTDIR)$(PREFIX)/share/man/man1/
	install -m 644 etc/camelliad.service $(DESTDIR)$(PREFIX)/lib/systemd/user/
	install -m 644 README.md LICENSE etc/config.ini docs/*.md $(DESTDIR)$(PREFIX)/share/doc/camellia/

clean:
	rm -rf $(BUILD)

-include $(shell find $(OUT) -name '*.d' 2>/dev/null)
