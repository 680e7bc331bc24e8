//! What cannot be memoized, and why.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Error, Result, Safety, Signature, Type};

/// Refuses functions of which a call is more than its result, whatever their arguments and results are.
pub(crate) fn function(signature: &Signature) -> Result<()> {
    if let Some(constness) = &signature.constness {
        return Err(Error::new_spanned(
            constness,
            "a `const fn` may run while the program is compiled, where there is no cache: leave `const` out",
        ));
    }
    if let Safety::Unsafe(unsafety) = &signature.safety {
        return Err(Error::new_spanned(
            unsafety,
            "what the caller of an unsafe function answers for is this very call, and a hit is none: memoize a safe function \
             around it",
        ));
    }
    if let Some(variadic) = &signature.variadic {
        return Err(Error::new_spanned(
            variadic,
            "the number of arguments has to be known, as they are the key",
        ));
    }
    Ok(())
}

/// Refuses an argument by its type. `is_in_key`: whether the call is found by it.
pub(crate) fn argument(of: &Type, is_in_key: bool) -> Result<()> {
    if has_mutable_reference(of.to_token_stream()) {
        return Err(Error::new_spanned(
            of,
            "a call that is answered from the cache changes nothing: what the function does to a `&mut` argument would not \
             happen. Return what is new, or memoize the part that only computes it",
        ));
    }
    if let Type::ImplTrait(_) = of {
        return Err(Error::new_spanned(
            of,
            "`impl Trait` hides a type that the result depends on: make it a type parameter, `fn f<T: Trait>(it: T)`",
        ));
    }
    if !is_in_key {
        return Ok(());
    }
    match of {
        Type::Ptr(_) | Type::FnPtr(_) => Err(Error::new_spanned(
            of,
            "an address is another one in each process, so that no call would be found again: say by `key = …` what the \
             result depends on, or leave the argument out by `ignore(…)`",
        )),
        _ if names(of.to_token_stream(), &["HashSet", "IndexSet"]) => Err(Error::new_spanned(
            of,
            "a hash set is in no order by which it could be found again: take a `BTreeSet`, or say by `key = …` what the result \
             depends on",
        )),
        _ if nests_options(of) => Err(Error::new_spanned(
            of,
            "serde writes `Some(None)` and `Some(())` as `None`, so that one call would get the result of another: say by \
             `key = …` what the result depends on",
        )),
        _ => Ok(()),
    }
}

/// Wherever it stands: `Option<&mut T>` as well.
fn has_mutable_reference(tokens: TokenStream) -> bool {
    // How much of `& 'a mut` was seen.
    let mut seen: Vec<String> = Vec::new();
    for token in tokens {
        let text = match &token {
            TokenTree::Group(group) if has_mutable_reference(group.stream()) => return true,
            TokenTree::Group(_) | TokenTree::Literal(_) => String::new(),
            TokenTree::Ident(ident) => ident.to_string(),
            TokenTree::Punct(punct) => punct.as_char().to_string(),
        };
        seen.push(text);
        let words: Vec<&str> = seen.iter().rev().map(String::as_str).take(4).collect();
        if matches!(words.as_slice(), ["mut", "&", ..] | ["mut", _, "'", "&"]) {
            return true;
        }
    }
    false
}

fn names(tokens: TokenStream, types: &[&str]) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Group(group) => names(group.stream(), types),
        TokenTree::Ident(ident) => types.iter().any(|name| ident == *name),
        TokenTree::Literal(_) | TokenTree::Punct(_) => false,
    })
}

fn nests_options(of: &Type) -> bool {
    use crate::answer::{Named, argument_of};
    match of {
        Type::Reference(reference) => nests_options(&reference.elem),
        Type::Paren(inner) => nests_options(&inner.elem),
        Type::Group(inner) => nests_options(&inner.elem),
        _ => match argument_of(of, "Option") {
            Named::With(Type::Tuple(inner)) => inner.elems.is_empty(),
            Named::With(inner) => matches!(argument_of(inner, "Option"), Named::With(_)),
            Named::Bare | Named::Otherwise => false,
        },
    }
}
