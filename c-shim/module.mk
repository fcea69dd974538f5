# Builds the module. Cargo decides whether to compile; the link follows only if the archive changed.
#
# The archive holds Rust and the shim. `-u md_module` pulls the shim in, as nothing in Rust refers to the module record.

APXS ?= apxs
CARGO ?= cargo
# Cargo's profile. `quick` does not optimise across crates: for the demo and for work on the module, never installed.
PROFILE ?= release
export APXS

# $(call md_archive,<cargo flags>,<archive>): compiles; the libraries to link are left beside the archive.
md_archive = $(CARGO) rustc --lib --crate-type staticlib $(1) -- --print native-static-libs=$(abspath $(2)).libs

# $(call md_link,<archive>): -z defs is absent on purpose, the server's own symbols are found when it loads the module.
md_link = $$($(APXS) -q CC) -shared -o $@.new $(1) $$(cat $(1).libs) \
	-Wl,-u,md_module -Wl,--version-script=c-shim/md_module.map -Wl,--gc-sections -Wl,--strip-debug -Wl,--as-needed -Wl,-z,relro,-z,now \
	&& mv $@.new $@

build/mod_md.so: target/$(PROFILE)/libmod_md.a c-shim/md_module.map build/profile
	@mkdir -p build
	$(call md_link,$<)

build/mod_md_panic.so: target/debug/libmod_md.a c-shim/md_module.map
	@mkdir -p build
	$(call md_link,$<)

build/a2md: target/$(PROFILE)/a2md build/profile
	@mkdir -p build
	cp $< $@

# The profile of what is in build/: another one makes both anew.
build/profile: FORCE
	@mkdir -p build
	@[ "$$(cat $@ 2>/dev/null)" = $(PROFILE) ] || echo $(PROFILE) >$@

target/$(PROFILE)/libmod_md.a: FORCE
	$(call md_archive,--profile $(PROFILE) --features httpd,$@)

target/debug/libmod_md.a: FORCE
	$(call md_archive,--features panic-probe,$@)

target/$(PROFILE)/a2md: FORCE
	$(CARGO) build --profile $(PROFILE) --bin a2md

# Cargo knows the sources; it leaves a file untouched that is up to date.
.PHONY: FORCE
FORCE:
