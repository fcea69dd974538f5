//! A panic on demand, for tests of what the server does after one.

#[cfg(not(feature = "panic-probe"))]
pub(super) fn run(_hook: &str) {}

/// Panics in the hook that the environment names: `MD_PANIC_IN=handler`, or `MD_PANIC_IN=post_config_last@restart`
/// to let the server start first.
#[cfg(feature = "panic-probe")]
pub(super) fn run(hook: &str) {
    let Ok(wanted) = std::env::var("MD_PANIC_IN") else { return };
    let due = match wanted.strip_suffix("@restart") {
        Some(name) => name == hook && super::phase::is_restart(),
        None => wanted == hook,
    };
    assert!(!due, "provoked by MD_PANIC_IN");
}
