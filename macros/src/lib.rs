//! The attribute `#[memoize]` of [cachemere](https://docs.rs/cachemere), whose feature `macros` has it. Not to be used by
//! itself: what it makes of a function needs that crate.

mod answer;
mod arguments;
mod digest;
mod expand;
mod options;
mod refused;

use proc_macro::TokenStream;

// Documented where it is found: `cachemere::memoize`.
#[allow(missing_docs)]
#[proc_macro_attribute]
pub fn memoize(options: TokenStream, function: TokenStream) -> TokenStream {
    expand::memoize(options.into(), function.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}
