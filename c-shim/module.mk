# Builds the module and a2md. Cargo decides whether to compile; the links follow only if the archive changed.
#
# The archive holds Rust and the shim, for both: it is optimised as a whole, which takes most of the time, and the linker drops
# from each the code that it does not call. `-u md_module` pulls the shim in, as nothing in Rust refers to the module record.

APXS ?= apxs
CARGO ?= cargo
# Cargo's profile: `quick` is for the demo and for work on the module, and never installed.
PROFILE ?= release
# Whether crates come from the network; the Makefile decides.
LOCKED ?= --locked
# A packager who takes the debug information out himself sets this to nothing. CPPFLAGS, CFLAGS and LDFLAGS are obeyed.
STRIP ?= -Wl,--strip-debug
export APXS

# $(call md_archive,<cargo flags>,<archive>): compiles; the libraries to link are left beside the archive.
md_archive = $(CARGO) rustc $(LOCKED) --lib --crate-type staticlib $(1) -- --print native-static-libs=$(abspath $(2)).libs

# What is installed has no path of the machine that built it: the checkout, cargo's folder and Rust's sources get names of
# their own.
# `quick` keeps the paths, as cargo would compile all crates once more for `make unittest`, which has no such flags.
md_remap = --remap-path-prefix=$(CURDIR)=. --remap-path-prefix=$${CARGO_HOME:-$$HOME/.cargo}=/cargo \
	--remap-path-prefix=$$($${RUSTC:-rustc} --print sysroot)/lib/rustlib/src/rust=/rust
md_rustflags = $(if $(filter release,$(PROFILE)),RUSTFLAGS="$$RUSTFLAGS $(md_remap)")

# $(call md_link,<archive>,<what makes it a module or a program>): -z defs is absent on purpose, the server's own symbols are
# found when it loads the module.
md_link = $$($(APXS) -q CC) -o $@.new $(CPPFLAGS) $(CFLAGS) $(2) $(1) $$(cat $(1).libs) \
	-Wl,--gc-sections $(STRIP) -Wl,--as-needed -Wl,-z,relro,-z,now $(LDFLAGS) && mv $@.new $@
md_module = -shared -Wl,-u,md_module -Wl,--version-script=c-shim/md_module.map

build/mod_md.so: target/$(PROFILE)/libmod_md.a c-shim/md_module.map build/profile
	@mkdir -p build
	$(call md_link,$<,$(md_module))

build/mod_md_panic.so: target/quick/libmod_md_panic.a c-shim/md_module.map
	@mkdir -p build
	$(call md_link,$<,$(md_module))

build/a2md: target/$(PROFILE)/libmod_md.a c-shim/a2md.c build/profile
	@mkdir -p build
	$(call md_link,$<,-pie c-shim/a2md.c)

# The profile of the files in build/: with another one both are built anew.
build/profile: FORCE
	@mkdir -p build
	@[ "$$(cat $@ 2>/dev/null)" = $(PROFILE) ] || echo $(PROFILE) >$@

target/$(PROFILE)/libmod_md.a: FORCE
	$(md_rustflags) $(call md_archive,--profile $(PROFILE) --features httpd,$@)

# Cargo gives archives of all features one name.
target/quick/libmod_md_panic.a: FORCE
	$(call md_archive,--profile quick --features panic-probe,$@)
	@cmp -s target/quick/libmod_md.a $@ || cp target/quick/libmod_md.a $@

# Cargo knows the sources; it leaves a file untouched that is up to date.
.PHONY: FORCE
FORCE:
