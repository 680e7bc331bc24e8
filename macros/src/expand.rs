//! From a function to one that looks for its result first.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, ItemFn, Result, Signature, Visibility};

use crate::answer::Answer;
use crate::arguments::Arguments;
use crate::options::{OnError, Options};
use crate::{digest, refused};

pub(crate) fn memoize(options: TokenStream, function: TokenStream) -> Result<TokenStream> {
    let options = Options::parse(options)?;
    let mut function: ItemFn = syn::parse2(function.clone()).map_err(|_| {
        let message =
            "only functions, methods and async functions can be memoized, and only where they have a body";
        Error::new_spanned(function, message)
    })?;
    refused::function(&function.sig)?;
    let ItemFn { sig, block, .. } = &function;
    // Neither names nor what is said in attributes and comments make results other ones.
    let inputs = &sig.inputs;
    let code = digest::of(quote!(#inputs #block));
    let is_async = sig.asyncness.is_some();
    let arguments = Arguments::name_in(&mut function.sig, &options)?;
    let ItemFn { attrs, vis, modifiers, sig, block } = &function;
    modifiers.require_empty()?;
    let answer = Answer::of(&sig.output, sig)?;
    let on_error = on_error(&options, &answer)?;

    let key = key(&options, &arguments, code, quote!(::core::option::Option::None));
    let Answer { returned, value, .. } = &answer;
    let cache = {
        let Options { cache, .. } = &options;
        let face = if is_async { quote!(AsyncCache) } else { quote!(Cache) };
        quote_spanned!(cache.span()=>
            let __cachemere_cache: &::cachemere::#face<::cachemere::CallKey, #value> = &#cache;
        )
    };
    let ttl = match &options.ttl {
        Some(ttl) => quote_spanned!(ttl.span()=> ::core::convert::Into::into(#ttl)),
        None => quote!(::core::option::Option::None),
    };
    let keeps = match &options.cache_if {
        Some(keeps) => keeps.to_token_stream(),
        None => quote!(|_| true),
    };
    let raise = match on_error {
        OnError::Raise => quote_spanned!(returned.span()=>
            ::core::option::Option::Some(::cachemere::__memoized::raise)
        ),
        OnError::Bypass => quote!(::core::option::Option::None),
    };
    let taken_apart = &arguments.taken_apart;
    let shared = shared(&answer);
    let call = if is_async {
        quote! {
            let __cachemere_compute = async {
                // Never returned: it tells the compiler the type of the block.
                if false {
                    return ::cachemere::__memoized::never::<#returned>();
                }
                #taken_apart
                #block
            };
            let __cachemere_compute = async {
                let __cachemere_computed = __cachemere_compute.await;
                #shared
            };
            let __cachemere_call =
                __CACHEMERE.call_async(__cachemere_cache, __cachemere_key, __cachemere_plan, __cachemere_compute);
            let __cachemere_got = __cachemere_call.await;
        }
    } else {
        quote! {
            let __cachemere_compute = || -> #returned {
                #taken_apart
                #block
            };
            let __cachemere_compute = || {
                let __cachemere_computed = __cachemere_compute();
                #shared
            };
            let __cachemere_got =
                __CACHEMERE.call(__cachemere_cache, __cachemere_key, __cachemere_plan, __cachemere_compute);
        }
    };
    let given = given(&answer);
    let key_fn = key_fn(&options, &arguments, code, sig, vis);
    let what_is_returned = check_alias(&answer);
    Ok(quote! {
        #(#attrs)*
        #vis #sig {
            #what_is_returned
            static __CACHEMERE: ::cachemere::__memoized::Function = ::cachemere::__memoized::Function::new();
            #cache
            let __cachemere_key = #key;
            let __cachemere_plan = ::cachemere::__memoized::Plan::new::<#value>(#ttl, #keeps, #raise);
            #call
            #given
        }
        #key_fn
    })
}

fn on_error(options: &Options, answer: &Answer<'_>) -> Result<OnError> {
    match options.on_error {
        Some((OnError::Raise, span)) if !answer.is_result => Err(Error::new(
            span,
            "the function returns no `Result`, so that it cannot tell of an error of the cache: leave `on_error` out, and it is \
             called then",
        )),
        Some((what, _)) => Ok(what),
        None if answer.is_result => Ok(OnError::Raise),
        None => Ok(OnError::Bypass),
    }
}

/// Says so where a `Result` hides behind another name: its errors would be kept.
fn check_alias(answer: &Answer<'_>) -> TokenStream {
    let Answer { returned, is_result, .. } = answer;
    if *is_result {
        return TokenStream::new();
    }
    quote_spanned! {returned.span()=>
        const {
            #[allow(unused_imports)]
            use ::cachemere::__memoized::NoResult as _;
            ::core::assert!(
                !::cachemere::__memoized::Returned::<#returned>::IS_RESULT,
                "this is another name for a `Result`: write `Result<T, E>`, so that errors are not kept"
            );
        }
    }
}

/// From what was computed to `Result<Arc<V>, E>`.
fn shared(answer: &Answer<'_>) -> TokenStream {
    let arc = quote!(::std::sync::Arc::new);
    match (answer.is_result, answer.is_shared) {
        (true, true) => quote!(__cachemere_computed),
        (true, false) => quote!(::core::result::Result::map(__cachemere_computed, #arc)),
        (false, true) => {
            quote!(::core::result::Result::Ok::<_, ::core::convert::Infallible>(__cachemere_computed))
        }
        (false, false) => {
            quote!(::core::result::Result::Ok::<_, ::core::convert::Infallible>(#arc(__cachemere_computed)))
        }
    }
}

/// And from that to what the function returns.
fn given(answer: &Answer<'_>) -> TokenStream {
    let owned = quote!(::std::sync::Arc::unwrap_or_clone);
    match (answer.is_result, answer.is_shared) {
        (true, true) => quote!(__cachemere_got),
        (true, false) => quote!(::core::result::Result::map(__cachemere_got, #owned)),
        (false, true) => quote!(::cachemere::__memoized::sure(__cachemere_got)),
        (false, false) => quote!(#owned(::cachemere::__memoized::sure(__cachemere_got))),
    }
}

/// An expression for the key. `called`: the name of the function if it is not the one that this stands in.
fn key(options: &Options, arguments: &Arguments, code: u64, called: TokenStream) -> TokenStream {
    let name = match &options.name {
        Some(name) => quote!(::core::option::Option::Some(#name)),
        None => quote!(::core::option::Option::None),
    };
    let edition = match &options.version {
        Some(version) => {
            quote_spanned!(version.span()=> ("version", ::cachemere::__memoized::part(&(#version))))
        }
        None => quote!(("code", #code)),
    };
    let key = arguments.key(options.key.as_ref());
    quote! {
        ::cachemere::__memoized::key(
            // A closure has the path of what it stands in, with all types that are bound there.
            ::cachemere::__memoized::Name { of: ::core::any::type_name_of_val(&|| {}), called: #called, given: #name },
            &#edition,
            &#key,
        )
    }
}

/// The function that only tells the key, if it is asked for.
fn key_fn(
    options: &Options,
    arguments: &Arguments,
    code: u64,
    signature: &Signature,
    vis: &Visibility,
) -> Option<TokenStream> {
    let name = options.key_fn.as_ref()?;
    let called = signature.ident.to_string();
    let doc = format!("Returns the key of the result of `{called}` with these arguments.");
    let key = key(options, arguments, code, quote!(::core::option::Option::Some(#called)));
    let Signature { generics, inputs, .. } = signature;
    let clause = &generics.where_clause;
    Some(quote! {
        #[doc = #doc]
        ///
        /// # Errors
        ///
        /// [`cachemere::Error::Serialize`] if an argument cannot be serialized.
        #[allow(unused_variables, clippy::needless_pass_by_value, clippy::too_many_arguments)]
        #vis fn #name #generics (#inputs) -> ::cachemere::Result<::cachemere::CallKey> #clause {
            #key
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a function that is refused.
    fn refusal(options: &str, function: &str) -> String {
        let expanded = memoize(options.parse().unwrap(), function.parse().unwrap());
        match expanded {
            Ok(_) => panic!("not refused: {function}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_cannot_be_memoized_is_refused_with_the_reason() {
        for (function, reason) in [
            (
                "fn f(out: &mut Vec<u8>) -> u32 { 1 }",
                "what the function does to a `&mut` argument would not happen",
            ),
            ("fn f(out: Option<&'a mut Vec<u8>>) -> u32 { 1 }", "`&mut` argument would not happen"),
            ("fn f(&mut self) -> u32 { 1 }", "`&mut` argument would not happen"),
            ("fn f(self: &mut Self) -> u32 { 1 }", "`&mut` argument would not happen"),
            ("fn f(self: Pin<&mut Self>) -> u32 { 1 }", "`&mut` argument would not happen"),
            ("fn f(it: impl Serialize) -> u32 { 1 }", "make it a type parameter"),
            ("fn f<T>(it: &T) -> u32 { 1 }", "nothing is known of `T`"),
            ("fn f(it: *const u8) -> u32 { 1 }", "an address is another one in each process"),
            ("fn f(it: fn() -> u32) -> u32 { 1 }", "an address is another one in each process"),
            ("fn f(it: Vec<HashSet<u32>>) -> u32 { 1 }", "a hash set is in no order"),
            ("fn f(it: &Option<Option<u32>>) -> u32 { 1 }", "serde writes `Some(None)`"),
            ("fn f(it: Option<()>) -> u32 { 1 }", "serde writes `Some(None)`"),
            ("fn f(n: u32) -> impl Iterator<Item = u32> { 0..n }", "that of `impl Trait` has no name"),
            ("fn f(n: u32) -> Result<impl Iterator<Item = u32>, Error> { Ok(0..n) }", "has no name"),
            ("fn f(it: &str) -> &str { it }", "a borrowed result cannot be kept"),
            ("fn f(it: &str) -> Result<&str, Error> { Ok(it) }", "a borrowed result cannot be kept"),
            ("fn f() -> *const u8 { null() }", "an address means nothing to another process"),
            ("fn f(n: u32) {}", "it returns nothing that could be kept"),
            ("fn f(n: u32) -> () {}", "it returns nothing that could be kept"),
            ("fn f(n: u32) -> Result<(), Error> { Ok(()) }", "it returns nothing that could be kept"),
            ("fn f(n: u32) -> fmt::Result { Ok(()) }", "it returns nothing that could be kept"),
            ("fn f(n: u32) -> ! { loop {} }", "it returns nothing that could be kept"),
            ("const fn f(n: u32) -> u32 { n }", "may run while the program is compiled"),
            ("unsafe fn f(n: u32) -> u32 { n }", "memoize a safe function around it"),
            ("unsafe extern \"C\" fn f(n: u32, ...) -> u32 { n }", "memoize a safe function around it"),
            ("fn f(n: u32) -> u32;", "only where they have a body"),
            ("struct S;", "only functions, methods and async functions"),
            ("impl S { fn f() -> u32 { 1 } }", "only functions, methods and async functions"),
        ] {
            let said = refusal("cache = CACHE", function);
            assert!(said.contains(reason), "{function}: {said}");
        }
    }

    #[test]
    fn what_a_key_or_ignoring_takes_care_of_is_not_refused() {
        let it = "fn f<T>(it: T, that: *const u8, set: HashSet<u8>) -> u32 { 1 }";
        for options in ["cache = CACHE, key = 1", "cache = CACHE, ignore(it, that, set)"] {
            assert!(memoize(options.parse().unwrap(), it.parse().unwrap()).is_ok(), "{options}");
        }
        // But what would not happen does not happen, whatever the key is.
        let said = refusal("cache = CACHE, ignore(out)", "fn f(out: &mut u32) -> u32 { 1 }");
        assert!(said.contains("`&mut` argument would not happen"), "{said}");
        let said = refusal("cache = CACHE, key = 1", "fn f(out: &mut u32) -> u32 { 1 }");
        assert!(said.contains("`&mut` argument would not happen"), "{said}");
    }

    #[test]
    fn options_that_make_no_sense_are_refused_with_the_reason() {
        for (options, reason) in [
            ("", "where are the results? Name the cache"),
            ("ttl = 1", "where are the results? Name the cache"),
            ("cache = CACHE, cache = CACHE", "`cache` is there twice"),
            ("cache = CACHE, tll = 1", "there is no option `tll`; there are cache, key, ttl"),
            ("cache = CACHE, on_error = \"ignore\"", "on_error is \"raise\""),
            ("cache = CACHE, on_error = \"raise\"", "the function returns no `Result`"),
            ("cache = CACHE, ignore(m)", "there is no argument `m`"),
            ("cache = CACHE, key = n, ignore(n)", "`key` takes the place of all arguments"),
            ("cache", "expected `=`"),
            ("cache = CACHE ttl = 1", "expected `,`"),
        ] {
            let said = refusal(options, "fn f(n: u32) -> u32 { n }");
            assert!(said.contains(reason), "{options}: {said}");
        }
    }
}
