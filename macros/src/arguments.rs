//! The arguments of a function: those that its calls are told apart by.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{
    Error, Expr, FnArg, Generics, Pat, ReceiverKind, Result, Signature, Type, TypeParam, WherePredicate,
};

use crate::options::Options;
use crate::refused;

/// The most that serde takes for one tuple.
const IN_A_TUPLE: usize = 16;

pub(crate) struct Arguments {
    /// In the order of the function, by name.
    in_key: Vec<TokenStream>,
    /// What takes the given arguments apart whose patterns are more than a name. For the beginning of the function.
    pub(crate) taken_apart: TokenStream,
}

impl Arguments {
    /// Gives each argument of the signature a name.
    pub(crate) fn name_in(signature: &mut Signature, options: &Options) -> Result<Arguments> {
        let cache = sole_name(&options.cache);
        let has_key = options.key.is_some();
        let mut unused: Vec<&Ident> = options.ignore.iter().collect();
        let mut arguments = Arguments { in_key: Vec::new(), taken_apart: TokenStream::new() };
        let generics = signature.generics.clone();
        for (place, argument) in signature.inputs.iter_mut().enumerate() {
            let (name, of) = match argument {
                FnArg::Receiver(receiver) => {
                    let of = match &receiver.kind {
                        ReceiverKind::Reference(_, _, Some(_)) => {
                            // As of any other argument that can be changed.
                            let of: Type = syn::parse_quote_spanned!(receiver.span()=> &mut Self);
                            refused::argument(&of, true)?;
                            of
                        }
                        ReceiverKind::Typed(_, of) => (**of).clone(),
                        _ => syn::parse_quote!(Self),
                    };
                    (Ident::new("self", receiver.self_token.span), of)
                }
                FnArg::Typed(typed) => {
                    let name = match &*typed.pat {
                        Pat::Ident(pattern) if pattern.by_ref.is_none() && pattern.subpat.is_none() => {
                            pattern.ident.clone()
                        }
                        pattern => {
                            let name = format_ident!("__cachemere_argument_{place}", span = pattern.span());
                            arguments.taken_apart.extend(quote!(let #pattern = #name;));
                            *typed.pat = syn::parse_quote!(#name);
                            name
                        }
                    };
                    (name, (*typed.ty).clone())
                }
            };
            let is_ignored = unused.iter().position(|ignored| **ignored == name).map(|at| unused.remove(at));
            let is_in_key = !has_key && is_ignored.is_none() && cache != Some(&name);
            refused::argument(&of, is_in_key)?;
            if is_in_key {
                bounded(&of, &generics)?;
                arguments.in_key.push(quote_spanned!(of.span()=> &#name));
            }
        }
        match unused.first() {
            Some(unknown) => Err(Error::new(unknown.span(), format!("there is no argument `{unknown}`"))),
            None => Ok(arguments),
        }
    }

    /// An expression for what the calls are told apart by.
    pub(crate) fn key(&self, key: Option<&Expr>) -> TokenStream {
        match key {
            Some(key) => part(quote_spanned!(key.span()=> &(#key))),
            None => {
                let parts = self.in_key.iter().cloned().map(part).collect();
                tuple(parts)
            }
        }
    }
}

/// With the bound that says why if it cannot be one.
fn part(argument: TokenStream) -> TokenStream {
    let span = argument.clone().into_iter().last().map_or_else(proc_macro2::Span::call_site, |it| it.span());
    quote_spanned!(span=> ::cachemere::__memoized::part(#argument))
}

fn tuple(mut parts: Vec<TokenStream>) -> TokenStream {
    while parts.len() > IN_A_TUPLE {
        parts = parts.chunks(IN_A_TUPLE).map(|some| quote!((#(#some,)*))).collect();
    }
    quote!((#(#parts,)*))
}

/// The name, if the expression is nothing else.
fn sole_name(expression: &Expr) -> Option<&Ident> {
    match expression {
        Expr::Path(path) => path.path.get_ident(),
        Expr::Reference(reference) => sole_name(&reference.expr),
        Expr::Unary(unary) => sole_name(&unary.expr),
        _ => None,
    }
}

/// Refuses an argument whose type is a parameter that nothing is known of. What bounds there are, the compiler sees to.
fn bounded(of: &Type, generics: &Generics) -> Result<()> {
    let Some(name) = sole_type(of) else { return Ok(()) };
    let Some(parameter) = generics.type_params().find(|parameter| parameter.ident == *name) else {
        return Ok(());
    };
    if is_bounded(parameter, generics) {
        return Ok(());
    }
    let message = format!(
        "nothing is known of `{name}`, so that its values cannot be in the key: bound it, `{name}: serde::Serialize`, or say \
         by `key = …` what the result depends on"
    );
    Err(Error::new_spanned(of, message))
}

fn is_bounded(parameter: &TypeParam, generics: &Generics) -> bool {
    let predicates = generics.where_clause.iter().flat_map(|clause| &clause.predicates);
    let mut of_it = predicates.filter(|predicate| match predicate {
        WherePredicate::Type(predicate) => sole_type(&predicate.bounded_ty) == Some(&parameter.ident),
        _ => false,
    });
    !parameter.bounds.is_empty() || of_it.next().is_some()
}

fn sole_type(of: &Type) -> Option<&Ident> {
    match of {
        Type::Path(path) if path.qself.is_none() => path.path.get_ident(),
        Type::Reference(reference) => sole_type(&reference.elem),
        _ => None,
    }
}
