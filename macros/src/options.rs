//! What is said in the parentheses of `#[memoize(…)]`.

use proc_macro2::{Ident, Span, TokenStream};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Error, Expr, LitStr, Result, Token, parenthesized};

pub(crate) struct Options {
    pub(crate) cache: Expr,
    pub(crate) key: Option<Expr>,
    pub(crate) ttl: Option<Expr>,
    pub(crate) name: Option<LitStr>,
    pub(crate) version: Option<Expr>,
    pub(crate) cache_if: Option<Expr>,
    pub(crate) on_error: Option<(OnError, Span)>,
    pub(crate) key_fn: Option<Ident>,
    pub(crate) ignore: Vec<Ident>,
}

/// What is done when the cache fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OnError {
    Raise,
    Bypass,
}

const KNOWN: &str = "cache, key, ttl, name, version, cache_if, on_error, key_fn and ignore";

impl Options {
    pub(crate) fn parse(options: TokenStream) -> Result<Options> {
        let given = Punctuated::<Given, Token![,]>::parse_terminated.parse2(options)?;
        let [mut cache, mut key, mut ttl, mut version, mut cache_if] = [const { None }; 5];
        let (mut name, mut on_error, mut key_fn, mut ignore) = (None, None, None, None);
        for Given { option, value } in given {
            let is_new = match value {
                Value::Cache(it) => cache.replace(it).is_none(),
                Value::Key(it) => key.replace(it).is_none(),
                Value::Ttl(it) => ttl.replace(it).is_none(),
                Value::Name(it) => name.replace(it).is_none(),
                Value::Version(it) => version.replace(it).is_none(),
                Value::CacheIf(it) => cache_if.replace(it).is_none(),
                Value::OnError(it) => on_error.replace(it).is_none(),
                Value::KeyFn(it) => key_fn.replace(it).is_none(),
                Value::Ignore(it) => ignore.replace(it).is_none(),
            };
            if !is_new {
                return Err(Error::new(option.span(), format!("`{option}` is there twice")));
            }
        }
        let cache = cache.ok_or_else(|| {
            let message = "where are the results? Name the cache: a static (`cache = ANSWERS`), an argument, a field \
                           (`cache = self.answers`) or any other expression for a `Cache<CallKey, V>`, of an `async fn` for an \
                           `AsyncCache<CallKey, V>`, where V is the type of the results";
            Error::new(Span::call_site(), message)
        })?;
        let ignore: Vec<Ident> = ignore.unwrap_or_default();
        if let (Some(_), Some(ignored)) = (&key, ignore.first()) {
            return Err(Error::new(
                ignored.span(),
                "`key` takes the place of all arguments: leave `ignore` out",
            ));
        }
        Ok(Options { cache, key, ttl, name, version, cache_if, on_error, key_fn, ignore })
    }
}

struct Given {
    option: Ident,
    value: Value,
}

enum Value {
    Cache(Expr),
    Key(Expr),
    Ttl(Expr),
    Name(LitStr),
    Version(Expr),
    CacheIf(Expr),
    OnError((OnError, Span)),
    KeyFn(Ident),
    Ignore(Vec<Ident>),
}

impl Parse for Given {
    fn parse(input: ParseStream<'_>) -> Result<Given> {
        let option = input.call(Ident::parse_any)?;
        if option == "ignore" {
            let content;
            parenthesized!(content in input);
            // `self` is a name here, too.
            let ignored = Punctuated::<Ident, Token![,]>::parse_terminated_with(&content, Ident::parse_any)?;
            return Ok(Given { option, value: Value::Ignore(ignored.into_iter().collect()) });
        }
        let assigned = |input: ParseStream<'_>| input.parse::<Token![=]>().map(drop);
        let value = match option.to_string().as_str() {
            "cache" => assigned(input).and_then(|()| input.parse().map(Value::Cache)),
            "key" => assigned(input).and_then(|()| input.parse().map(Value::Key)),
            "ttl" => assigned(input).and_then(|()| input.parse().map(Value::Ttl)),
            "name" => assigned(input).and_then(|()| input.parse().map(Value::Name)),
            "version" => assigned(input).and_then(|()| input.parse().map(Value::Version)),
            "cache_if" => assigned(input).and_then(|()| input.parse().map(Value::CacheIf)),
            "on_error" => assigned(input).and_then(|()| on_error(input).map(Value::OnError)),
            "key_fn" => assigned(input).and_then(|()| input.parse().map(Value::KeyFn)),
            other => {
                Err(Error::new(option.span(), format!("there is no option `{other}`; there are {KNOWN}")))
            }
        };
        Ok(Given { value: value?, option })
    }
}

fn on_error(input: ParseStream<'_>) -> Result<(OnError, Span)> {
    let what: LitStr = input.parse()?;
    match what.value().as_str() {
        "raise" => Ok((OnError::Raise, what.span())),
        "bypass" => Ok((OnError::Bypass, what.span())),
        other => {
            let message = format!(
                "on_error is \"raise\" (an error of the cache is the function's) or \"bypass\" (the function is called \
                 then), not {other:?}"
            );
            Err(Error::new(what.span(), message))
        }
    }
}
