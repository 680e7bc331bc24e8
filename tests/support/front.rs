//! Which front a run of the tests is for.

use cachemere::FrontKind;

/// moka, unless the environment variable `CACHEMERE_TEST_FRONT` names another: the tests of what every front does run once
/// for each.
pub(crate) fn front() -> FrontKind {
    match std::env::var("CACHEMERE_TEST_FRONT").as_deref() {
        Err(_) | Ok("moka") => FrontKind::Moka,
        #[cfg(feature = "quick_cache")]
        Ok("quick_cache") => FrontKind::QuickCache,
        Ok(other) => {
            panic!("CACHEMERE_TEST_FRONT={other}: moka, or quick_cache with the feature of that name")
        }
    }
}
