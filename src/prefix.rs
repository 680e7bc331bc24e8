//! What a key can begin with.

/// The beginning of a key for [`Cache::remove_prefix`](crate::Cache::remove_prefix): a text or bytes.
pub trait Prefix: sealed::Sealed {
    #[doc(hidden)]
    fn begins(&self, key: &Self) -> bool;
}

impl Prefix for str {
    fn begins(&self, key: &str) -> bool {
        key.starts_with(self)
    }
}

impl Prefix for [u8] {
    fn begins(&self, key: &[u8]) -> bool {
        key.starts_with(self)
    }
}

mod sealed {
    pub trait Sealed {}

    impl Sealed for str {}
    impl Sealed for [u8] {}
}
